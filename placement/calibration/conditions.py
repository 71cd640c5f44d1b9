"""All that decides what an engine takes: GPU, version, model and settings."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from placement.footprint.defaults import resolve
from placement.footprint.settings import Device, Settings, Version
from placement.models.facts import ModelFacts

_VENDOR = re.compile(r"\b(nvidia|geforce|amd|intel|apple)\b|\((r|tm)\)")


@dataclass(frozen=True)
class Conditions:
    """Equal conditions, equal figures."""

    gpu: str
    version: Version | None
    fingerprint: str
    dtype: str
    quantization: str | None
    kv_cache_dtype: str
    tp: int
    pp: int
    expert_parallel: bool
    max_num_seqs: int
    max_num_batched_tokens: int
    enforce_eager: bool

    @property
    def shards(self) -> tuple[object, ...]:
        """What weights on a GPU depend on."""
        parallel = (self.tp, self.pp, self.expert_parallel)
        return (self.fingerprint, self.dtype, self.quantization, *parallel)

    def shares(self, name: str, other: Conditions) -> bool:
        """Whether an error seen there may be expected here, for one term of another model.

        A pipeline's ranks differ, and communicators are a term of several GPUs alone.
        """
        same_pipeline = (self.pp > 1) == (other.pp > 1)
        return same_pipeline and (name != "non_torch" or (self.tp > 1) == (other.tp > 1))

    def likeness(self, other: Conditions) -> tuple[bool, ...]:
        """To compare by: the first differences weigh most."""
        return (
            self.version == other.version,
            (self.tp > 1) == (other.tp > 1),
            self.enforce_eager == other.enforce_eager,
            self.max_num_seqs == other.max_num_seqs,
            self.max_num_batched_tokens == other.max_num_batched_tokens,
            self.fingerprint == other.fingerprint,
        )


def conditions(facts: ModelFacts, settings: Settings, device: Device) -> Conditions:
    method = facts.quantization.method if facts.quantization else None
    resolved = resolve(facts, settings, device)
    return Conditions(
        gpu=gpu_class(device),
        version=settings.vllm_version,
        fingerprint=fingerprint(facts),
        dtype=resolved.dtype,
        quantization=settings.quantization or method,
        kv_cache_dtype=resolved.kv_cache_dtype,
        tp=settings.tp,
        pp=settings.pp,
        expert_parallel=settings.expert_parallel,
        max_num_seqs=resolved.max_num_seqs,
        max_num_batched_tokens=resolved.max_num_batched_tokens,
        enforce_eager=settings.enforce_eager,
    )


def gpu_class(device: Device) -> str:
    """The same for "NVIDIA GeForce RTX 4090" and "RTX 4090"; all CPUs are one class."""
    if device.kind == "cpu":
        return "cpu"
    return " ".join(_VENDOR.sub(" ", device.name.lower()).split())


def fingerprint(facts: ModelFacts) -> str:
    """The same for models that take the same memory, whatever they are called.

    Of the weights' headers the sum alone counts: it tells apart what config.json does not.
    """
    return _fingerprint(_Same(facts))


class _Same:
    """Equal only to itself: facts may hold a dict, and comparing all layers would take long."""

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    def __hash__(self) -> int:
        return id(self.facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.facts is other.facts


@lru_cache(maxsize=64)  # a plan asks some thousand times about a few models
def _fingerprint(same: _Same) -> str:
    stored = same.facts.stored
    nameless = replace(same.facts, name="", notes=(), stored=None)
    text = repr((nameless, stored and stored.total_bytes))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
