"""What an engine is to the rest of Roundhouse: a thing that starts, reports, and has a URL.

Values here travel between processes, so they are plain frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from placement.footprint.settings import Footprint


class State(StrEnum):
    """Where a replica is in its life. Only READY replicas get requests."""

    STARTING = "starting"  # its process does not answer yet (or not any more)
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # did not load; tried again after a pause
    COLD = "cold"  # not loaded, by intent: a request for it loads it


@dataclass(frozen=True)
class ReplicaSpec:
    """Everything that one replica's process must know to start its engine.

    `cpu_ids` holds one list of cores a worker (tp x pp of them), or is empty to let the engine
    choose; `n_threads` is its share of the cores where it has no list of its own, None where it is
    alone; `gpu_ids` is as CUDA_VISIBLE_DEVICES takes it, empty on a box without GPUs. `slots` are
    the requests that it works on at once, None where it takes what comes. `footprint` is what the
    plan expects it to take.
    """

    id: str
    model: str
    engine: str
    source: str
    served_names: tuple[str, ...]
    log_path: str
    load_timeout_s: float
    stall_timeout_s: float
    tp: int = 1
    pp: int = 1
    gpu_ids: tuple[str, ...] = ()
    cpu_ids: tuple[tuple[int, ...], ...] = ()
    n_threads: int | None = None
    on_cpu: bool = True
    dtype: str = "auto"
    quantization: str | None = None
    max_model_len: int | None = None
    kv_cache_bytes: int | None = None
    slots: int | None = None
    footprint: Footprint | None = None
    engine_args: dict[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)  # the engine's port wants it as a Bearer token

    @property
    def can_sleep(self) -> bool:
        """vLLM can on GPUs, where it was started so."""
        asked = bool(self.engine_args.get("enable_sleep_mode"))
        return asked and self.engine == "vllm" and not self.on_cpu


@dataclass(frozen=True)
class EngineStatus:
    """A replica's own report. `url` is set once READY; `error` says why it FAILED.

    `kv_tokens` is what its prefix cache can hold, 0 where it keeps none. `prefix_queries` and
    `prefix_hits` count prompt tokens that were looked up and found there, since its process began.
    `loaded`, `vram_bytes` and `loaded_until` (seconds since 1970, infinite for ever) are told by an
    engine that is ready without the model in memory. `modalities`, `tools` and `size_b` (billions
    of parameters) are what it tells of the model. None: not known.
    """

    state: State
    phase: str = ""
    url: str | None = None
    pid: int = 0
    started_at: float = 0.0
    ready_after_s: float | None = None
    error: str | None = None
    error_code: str | None = None
    max_model_len: int | None = None
    kv_tokens: int | None = None
    prefix_queries: int | None = None
    prefix_hits: int | None = None
    version: str | None = None
    loaded: bool | None = None
    vram_bytes: int | None = None
    loaded_until: float | None = None
    modalities: frozenset[str] | None = None
    tools: bool | None = None
    size_b: float | None = None


class Engine(Protocol):
    """One running copy of a model. Methods are called from the replica's control thread."""

    def start(self) -> None:
        """Begins to load and returns at once; `status` tells how it goes."""

    def status(self) -> EngineStatus: ...

    def stop(self) -> None:
        """Ends the engine and its processes; returns when they have gone. May take seconds."""


@runtime_checkable
class Sleeper(Protocol):
    """An engine that can give most of its memory back and keep its process. Both calls block."""

    def sleep(self, level: int) -> None:
        """Level 1 keeps the weights in main memory, level 2 drops them. Nothing may be in flight.
        It is COLD from then on."""

    def wake(self) -> None:
        """READY again. Nothing happens when it is awake."""
