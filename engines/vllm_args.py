"""From a replica's spec to vLLM's command line, and the check of `engine_args` by name.

Nothing here imports vLLM: the known names are read from its source, so that a typing error is
told in a tenth of a second instead of ten.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from engines.base import ReplicaSpec

# What Roundhouse decides itself, and where a user says it instead.
_OURS = {
    "model": "source",
    "served_model_name": "the model's name and aliases",
    "host": "nothing: an engine listens on loopback only",
    "port": "server.port",
    "uds": "server.port",
    "api_key": "server.api_keys",
    "tensor_parallel_size": "placement.tp",
    "pipeline_parallel_size": "placement.pp",
    "data_parallel_size": "placement.replicas",
    "max_model_len": "max_model_len",
    "dtype": "dtype",
    "quantization": "quantization",
    "root_path": "nothing",
    "ssl_keyfile": "nothing: engines are private",
    "ssl_certfile": "nothing: engines are private",
}
_SOURCES = {
    "engine/arg_utils.py": {"EngineArgs", "AsyncEngineArgs"},
    "entrypoints/common/cli_args.py": {"BaseFrontendArgs", "FrontendArgs"},
    "entrypoints/launchers/cli_args.py": {"BaseFrontendArgs", "FrontendArgs"},
    "entrypoints/openai/cli_args.py": {"BaseFrontendArgs", "FrontendArgs"},
}


def check(model: str, engine_args: Mapping[str, Any]) -> None:
    """Raises ConfigError for a name that vLLM does not have, or that Roundhouse sets itself."""
    known = known_names()
    for name in engine_args:
        place = f"models.{model}.engine_args.{name}"
        if name in _OURS:
            raise ConfigError(f"{place}: is set by Roundhouse; use {_OURS[name]}")
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ConfigError(f"{place}: vLLM has no such argument{hint}")


@cache
def known_names() -> frozenset[str]:
    """Every argument of `vllm serve`, as Python names; empty where vLLM is not installed."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    root = Path(spec.submodule_search_locations[0])
    names: set[str] = set()
    for file, classes in _SOURCES.items():
        if (root / file).exists():
            names.update(_fields(root / file, classes))
    return frozenset(names)


def _fields(file: Path, classes: set[str]) -> Iterable[str]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield item.target.id


def command_line(spec: ReplicaSpec) -> list[str]:
    """The arguments for vLLM's parser. The user's `engine_args` win over our defaults."""
    arguments: dict[str, Any] = {
        "model": spec.source,
        "served_model_name": list(spec.served_names),
        "tensor_parallel_size": spec.tp,
        "pipeline_parallel_size": spec.pp,
        "dtype": spec.dtype,
        "api_key": [spec.token] if spec.token else None,
        "disable_uvicorn_access_log": True,
        "max_model_len": spec.max_model_len,
        "quantization": spec.quantization,
        "kv_cache_memory_bytes": spec.kv_cache_bytes,
        "distributed_executor_backend": "mp" if spec.tp * spec.pp > 1 else None,
        # Time to tear down in order; killed at once, vLLM leaves its shared memory behind.
        "shutdown_timeout": 5,
        # On a CPU, torch.compile gave wrong words in bfloat16 and takes a minute more to start.
        "enforce_eager": True if spec.on_cpu else None,
    }
    arguments.update(spec.engine_args)
    return [word for name, value in arguments.items() for word in _flag(name, value)]


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, dict):
        return [flag, json.dumps(value)]
    if isinstance(value, list | tuple) and len(value) != 1:
        return [flag, *map(str, value)]
    if isinstance(value, list | tuple):
        value = value[0]  # behind "=" it may begin with a dash, as every 64th token does
    return [f"{flag}={value}"]
