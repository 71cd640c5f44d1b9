"""What an MLX replica is told: its slots, their context, what its prompt cache may keep.

The options of mlx_lm.server 0.32; its own parser checks their values again, in the child.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

from common.errors import StartError
from engines import arguments
from engines.base import ReplicaSpec

DEFAULT_SLOTS = 4
# A prompt holds up all other answers, and its own client leaving, for one step of it.
_CPU_PREFILL_TOKENS = 64
_PACKAGES = ("mlx", "mlx_lm", "transformers")

_KNOWN: dict[str, type] = {
    "decode_concurrency": int,
    "prompt_concurrency": int,
    "prefill_step_size": int,
    "prompt_cache_size": int,
    "prompt_cache_bytes": int,
    "kv_bits": int,
    "kv_group_size": int,
    "quantized_kv_start": int,
    "adapter_path": str,
    "chat_template": str,
    "chat_template_args": dict,
    "use_default_chat_template": bool,
    "trust_remote_code": bool,
    "max_tokens": int,
    "temp": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "log_level": str,
}
# What Roundhouse decides itself, and where a user says it instead.
_OURS = {
    "model": "source",
    "host": "nothing: an engine listens on loopback only",
    "port": "server.port",
    "allowed_origins": "nothing: browsers reach Roundhouse, not the engine",
    "pipeline": "nothing: a replica runs on one machine",
    "draft_model": "nothing: no plan counts a second model yet",
    "num_draft_tokens": "nothing: no plan counts a second model yet",
}


def check(model: str, engine_args: Mapping[str, Any]) -> None:
    """Raises ConfigError for a name that is not known, or a value that cannot be right."""
    arguments.check("mlx", model, engine_args, _KNOWN, _OURS, slots="decode_concurrency")


def require_installed() -> None:
    """Raises StartError where a package is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(
            f"engine mlx needs the package {missing[0].replace('_', '-')}, which is not "
            "installed: `make setup ENGINE=mlx`, or pip install 'mlx-lm[cpu]' (on a Mac: mlx-lm) "
            "into Roundhouse's .venv"
        )


def slots_of(engine_args: Mapping[str, Any]) -> int:
    """How many requests one replica works on at once. With a quantized cache it batches none."""
    if engine_args.get("kv_bits") is not None:
        return 1
    return int(engine_args.get("decode_concurrency", DEFAULT_SLOTS))


def kept_contexts(engine_args: Mapping[str, Any]) -> int:
    """How many slots' contexts the prompt cache may hold beside those that are at work."""
    return max(1, slots_of(engine_args) // 2)


def prompt_cache_bytes(spec: ReplicaSpec) -> int | None:
    """Its part of what the plan has for all caches; None where there is no plan."""
    if spec.kv_cache_bytes is None:
        return None
    kept = kept_contexts(spec.engine_args)
    return spec.kv_cache_bytes * kept // (slots_of(spec.engine_args) + kept)


def kept_tokens(spec: ReplicaSpec) -> int | None:
    """What its prompt cache holds; not known where the user has set its size."""
    if "prompt_cache_bytes" in spec.engine_args or spec.max_model_len is None:
        return None
    return kept_contexts(spec.engine_args) * spec.max_model_len


def command_line(spec: ReplicaSpec) -> list[str]:
    """For mlx_lm.server. The user's `engine_args` win over our defaults."""
    values: dict[str, Any] = {
        "model": spec.source,
        "decode_concurrency": slots_of(spec.engine_args),
        "prompt_cache_bytes": prompt_cache_bytes(spec),
        **({"prefill_step_size": _CPU_PREFILL_TOKENS} if spec.on_cpu else {}),
        "max_tokens": spec.max_model_len,  # else answers end after 512, whatever the client expects
        "log_level": "WARNING",
        **spec.engine_args,
    }
    return [word for name, value in values.items() for word in _option(name, value)]


def _option(name: str, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False:
        return []
    if value is True:
        return [option]
    return [f"{option}={json.dumps(value) if isinstance(value, dict) else value}"]
