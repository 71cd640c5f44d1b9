"""One pipeline rank of a start: its terms, and what they leave for the KV cache."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

from placement.footprint import overheads, versions
from placement.footprint.activation import activation
from placement.footprint.constants import capability_of, is_fitted
from placement.footprint.memo import Memo
from placement.footprint.settings import (
    Calibration,
    Device,
    RankFootprint,
    Settings,
    Term,
)
from placement.footprint.weights import rank_weights
from placement.models.facts import ModelFacts

_LEARNT = ("activation", "non_torch", "cudagraph")
_weights: Memo[tuple[int, ...]] = Memo()


@dataclass(frozen=True)
class Known:
    """What need not be predicted: weights by pipeline rank, and the KV cache that an engine
    reported of its first rank, for the tokens that follow from it."""

    rank_weights: tuple[int, ...] | None = None
    kv_cache_bytes: int | None = None


@dataclass(frozen=True)
class Start:
    facts: ModelFacts
    settings: Settings
    device: Device
    calibration: Calibration | None
    known: Known


def weights_of(facts: ModelFacts, settings: Settings, device: Device) -> tuple[int, ...]:
    """rank_weights, which takes longer than all the rest, once for each way to load a model."""
    relevant = Settings(
        vllm_version=settings.vllm_version,
        tp=settings.tp,
        pp=settings.pp,
        expert_parallel=settings.expert_parallel,
        dtype=settings.dtype,
        quantization=settings.quantization,
    )
    capability = capability_of(device)
    compute = partial(rank_weights, facts, relevant, capability)
    return _weights.get(facts, (relevant, capability), compute)


def graphs_in_budget(settings: Settings) -> bool:
    """Whether the engine sets memory for CUDA graphs aside before it sizes the KV cache."""
    version = settings.vllm_version
    return version is None or version >= versions.GRAPHS_IN_BUDGET


def rank_footprint(
    start: Start, number: int, weights: int, layers: range, budget: int
) -> RankFootprint:
    facts, settings, device = start.facts, start.settings, start.device
    peak = activation(facts, settings, device, rank=number)
    predicted = (
        Term("weights", weights, "sizes of the model's tensors"),
        Term("activation", 0 if device.kind == "cpu" else peak.n_bytes, peak.source),
        Term("non_torch", *overheads.non_torch(settings, device)),
        Term("cudagraph", *overheads.cudagraph(facts, settings, device, layers)),
    )
    terms = tuple(_corrected(start, term) for term in predicted)
    learnt = {old.name for old, new in zip(predicted, terms, strict=True) if old is not new}
    margin = _margin(start, learnt, peak.uncertain_bytes)
    counted = terms if graphs_in_budget(settings) else terms[:-1]
    left = budget - sum(term.n_bytes for term in counted)
    given = settings.kv_cache_bytes
    return RankFootprint((*terms, margin), left if given is None else given)


def as_reported(start: Start, ranks: tuple[RankFootprint, ...]) -> tuple[RankFootprint, ...]:
    """What the first rank reported, and the others as far from it as predicted."""
    if start.known.kv_cache_bytes is None:
        return ranks
    shift = start.known.kv_cache_bytes - ranks[0].kv_cache_bytes
    return tuple(replace(rank, kv_cache_bytes=rank.kv_cache_bytes + shift) for rank in ranks)


def _corrected(start: Start, term: Term) -> Term:
    """The same object where nothing was learnt."""
    if start.calibration is None:
        return term
    found = start.calibration.term(
        term.name, start.facts, start.settings, start.device, term.n_bytes
    )
    return term if found is None else Term(term.name, *found)


def _margin(start: Start, learnt: AbstractSet[str], uncertain_bytes: int) -> Term:
    if start.device.kind == "cpu":
        return Term("margin", 0, "none: the size of the process covers it")
    wanted = {n for n in _LEARNT if n != "cudagraph" or not start.settings.enforce_eager}
    if wanted <= learnt:
        return Term("margin", 0, "none: calibrated by starts on this GPU and version")
    n_bytes = overheads.margin_bytes(start.settings, start.device) + uncertain_bytes
    if is_fitted(start.settings, start.device):
        return Term("margin", n_bytes, "constants fitted to this version and kind of GPU")
    return Term("margin", n_bytes, "no start known on this GPU with this version")
