"""Engines by the name that the config uses. A new engine is a file and an entry here.

Everything is imported when it is asked for: a box has one engine installed and not the others.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from common.config import ModelConfig
from common.errors import ConfigError, StartError
from engines.base import Engine, ReplicaSpec
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand

Progress = Callable[[str], None]


class Kind(Protocol):
    """What an engine that runs here must answer before and when a replica of it starts.

    A subclass need only have `create`: the rest is that of an engine without arguments which loads
    Hugging Face's folders, as vLLM does, and is there wherever Roundhouse is.
    """

    def check(self, model: str, engine_args: Mapping[str, Any]) -> None:
        """Raises ConfigError for an engine argument that it does not take."""
        for name in engine_args:
            raise ConfigError(f"models.{model}.engine_args.{name}: this engine takes no arguments")

    def require_installed(self) -> None:
        """Raises StartError, with what to install, where it cannot be run."""

    def resolve(self, model: str, source: str, progress: Progress) -> Path:
        """The folder or file of a model, fetched if need be."""
        from engines import sources

        return sources.resolve(model, source, progress)

    def demand(self, name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
        """What a plan must know. Raises ConfigError for what the engine cannot do."""
        from engines import demands

        return demands.demand(name, model, facts)

    def slots(self, engine_args: Mapping[str, Any]) -> int | None:
        """Requests that one replica works on at once; None: it takes what comes."""
        return None

    def create(self, spec: ReplicaSpec) -> Engine: ...


class _Vllm(Kind):
    def check(self, model: str, engine_args: Mapping[str, Any]) -> None:
        from engines import vllm_args

        vllm_args.check(model, engine_args)

    def require_installed(self) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise StartError(
                "engine vllm is not installed here: run `make setup`, or serve a GGUF model, "
                "such as embedded:smollm2-gguf"
            )

    def create(self, spec: ReplicaSpec) -> Engine:
        from engines.vllm import VllmEngine

        return VllmEngine(spec)


class _LlamaCpp:
    def check(self, model: str, engine_args: Mapping[str, Any]) -> None:
        from engines import llamacpp_args

        llamacpp_args.check(model, engine_args)

    def require_installed(self) -> None:
        from engines import llamacpp_args

        llamacpp_args.require_installed()

    def resolve(self, model: str, source: str, progress: Progress) -> Path:
        from engines import gguf_sources

        return gguf_sources.resolve(model, source, progress)

    def demand(self, name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
        from engines import llamacpp_demand

        return llamacpp_demand.demand(name, model, facts)

    def slots(self, engine_args: Mapping[str, Any]) -> int | None:
        from engines import llamacpp_args

        return llamacpp_args.slots_of(engine_args)

    def create(self, spec: ReplicaSpec) -> Engine:
        from engines.llamacpp import LlamaCppEngine

        return LlamaCppEngine(spec)


class _Mlx(Kind):
    def check(self, model: str, engine_args: Mapping[str, Any]) -> None:
        from engines import mlx_args

        mlx_args.check(model, engine_args)

    def require_installed(self) -> None:
        from engines import mlx_args

        mlx_args.require_installed()

    def demand(self, name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
        from engines import mlx_demand

        return mlx_demand.demand(name, model, facts)

    def slots(self, engine_args: Mapping[str, Any]) -> int | None:
        from engines import mlx_args

        return mlx_args.slots_of(engine_args)

    def create(self, spec: ReplicaSpec) -> Engine:
        from engines.mlx import MlxEngine

        return MlxEngine(spec)


# `openai` is absent on purpose: a remote endpoint is only a URL, nothing runs here for it.
OWNED: dict[str, Kind] = {"vllm": _Vllm(), "llamacpp": _LlamaCpp(), "mlx": _Mlx()}


def create(spec: ReplicaSpec) -> Engine:
    return OWNED[spec.engine].create(spec)
