"""What an engine is asked for, as far as its memory depends on it, and what it then takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from placement.models.facts import ModelFacts

Version = tuple[int, int, int]
DeviceKind = Literal["cuda", "unified", "apple", "cpu"]


@dataclass(frozen=True)
class Settings:
    """None means vLLM's own default for that version and GPU (`footprint/defaults.py`).

    `kv_cache_bytes` is vLLM's kv_cache_memory_bytes: it takes the place of the share of memory.
    """

    vllm_version: Version | None = (0, 32, 0)  # None: not known
    tp: int = 1
    pp: int = 1
    expert_parallel: bool = False
    dtype: str = "auto"
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    gpu_memory_utilization: float | None = None
    kv_cache_bytes: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    block_size: int | None = None
    prefix_caching: bool | None = None  # hybrids keep a second state a sequence for it


@dataclass(frozen=True)
class Device:
    """One accelerator as the engine sees it.

    `total_bytes` is CUDA's total, 0.3 to 1.2 GiB under NVML's; `free_bytes` what is free before
    the engine starts (None: all of it, on a case without a snapshot).
    """

    name: str
    total_bytes: int
    free_bytes: int | None = None
    kind: DeviceKind = "cuda"
    compute_capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Term:
    """One part of a footprint on one rank, and what the figure rests on, in a few words."""

    name: Literal["weights", "activation", "non_torch", "cudagraph", "margin"]
    n_bytes: int
    source: str


@dataclass(frozen=True)
class RankFootprint:
    """One pipeline rank's terms, and what they leave of its GPU for the KV cache."""

    terms: tuple[Term, ...]
    kv_cache_bytes: int

    def term(self, name: str) -> int:
        return sum(term.n_bytes for term in self.terms if term.name == name)


@dataclass(frozen=True)
class Footprint:
    """What one replica takes on the GPU that bounds it, and what that leaves for the KV cache.

    `kv_cache_bytes` is negative when the rest alone is over budget. `basis` is "exact",
    "calibrated", "fitted" (version and GPU class that the constants come from) or "margin".
    """

    facts: ModelFacts
    settings: Settings
    device: Device
    budget_bytes: int
    terms: tuple[Term, ...]
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_model_len: int
    max_concurrency: float
    fits: bool
    basis: str
    notes: tuple[str, ...] = field(default=())
    ranks: tuple[RankFootprint, ...] = ()  # the first is the one that vLLM's log speaks of

    def term(self, name: str) -> int:
        return sum(term.n_bytes for term in self.terms if term.name == name)


class Calibration(Protocol):
    """What earlier starts taught. It may correct any term but "margin", before that is decided."""

    def term(
        self,
        name: str,
        facts: ModelFacts,
        settings: Settings,
        device: Device,
        predicted_bytes: int,
    ) -> tuple[int, str] | None:
        """Corrected bytes and the words for their source; None where nothing was learnt."""
