"""The whole chain: from a model, settings and a device to the KV cache, and whether it fits.

The KV cache is the best estimate. The margin is not taken off it; it only decides `fits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from placement.footprint import kv
from placement.footprint.constants import (
    capability_of,
    eras,
    first_version,
    is_fitted,
    likely_version,
)
from placement.footprint.defaults import Resolved, resolve
from placement.footprint.doubts import Prospect, doubts
from placement.footprint.ranks import (
    Known,
    Start,
    as_reported,
    graphs_in_budget,
    rank_footprint,
    weights_of,
)
from placement.footprint.settings import (
    Calibration,
    Device,
    Footprint,
    RankFootprint,
    Settings,
    Version,
)
from placement.models.facts import ModelFacts

__all__ = ["Known", "budget_bytes", "estimate", "graphs_in_budget", "possible_versions"]

_OLDEST: Version = (0, 6, 0)


def estimate(
    facts: ModelFacts,
    settings: Settings,
    device: Device,
    calibration: Calibration | None = None,
    known: Known | None = None,
) -> Footprint:
    """Without a version: the figures of a likely one, and it fits only if it does in all."""
    start = Start(facts, settings, device, calibration, known or Known())
    if settings.vllm_version is not None:
        return _estimate(start)
    return _of_unknown_version(start)


def possible_versions(facts: ModelFacts, device: Device) -> list[Version]:
    """One of each time whose constants differ, the likeliest first."""
    first = first_version(facts.architecture, capability_of(device))
    found = [max(first, _OLDEST), *(era.since for era in eras() if era.since > first)]
    likely = likely_version(facts.architecture)
    return list(dict.fromkeys([*([likely] if likely else []), *found]))


def budget_bytes(device: Device, share: float) -> int:
    """vLLM's share is of all memory, whoever else uses it."""
    return ceil(device.total_bytes * share)


def _of_unknown_version(start: Start) -> Footprint:
    tried = {
        version: _estimate(replace(start, settings=replace(start.settings, vllm_version=version)))
        for version in possible_versions(start.facts, start.device)
    }
    likely, found = next(iter(tried.items()))
    notes = (
        f"vLLM's version is not known; figures as of {_text(likely)}",
        *_doubted(tried),
        *found.notes,
    )
    return replace(
        found,
        settings=start.settings,
        fits=all(each.fits for each in tried.values()),
        basis="exact" if found.basis == "exact" else "margin",
        notes=notes,
    )


def _doubted(tried: Mapping[Version, Footprint]) -> list[str]:
    unsure = [_text(version) for version, each in tried.items() if not each.fits]
    return [f"not sure to fit with {', '.join(unsure)}"] if unsure else []


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _estimate(start: Start) -> Footprint:
    resolved = resolve(start.facts, start.settings, start.device)
    budget = budget_bytes(start.device, resolved.gpu_memory_utilization)
    weights = start.known.rank_weights or weights_of(start.facts, start.settings, start.device)
    stages = kv.pipeline_stages(len(start.facts.layers), start.settings.pp)
    ranks = as_reported(
        start,
        tuple(
            rank_footprint(start, i, weights[i], stage, budget) for i, stage in enumerate(stages)
        ),
    )
    pool = kv.pool(start.facts, start.settings, start.device)
    found = kv.capacity(pool, [rank.kv_cache_bytes for rank in ranks])
    bound = ranks[found.rank]
    basis = _basis(start, bound)
    problems = doubts(_prospect(start, ranks, pool, budget, basis))
    return Footprint(
        facts=start.facts,
        settings=start.settings,
        device=start.device,
        budget_bytes=budget,
        terms=bound.terms,
        kv_cache_bytes=bound.kv_cache_bytes,
        kv_cache_tokens=found.tokens,
        max_model_len=resolved.max_model_len,
        max_concurrency=found.max_concurrency,
        fits=not problems,
        basis="exact" if _is_given(start) else basis,
        notes=(*problems, *_notes(start, pool, resolved)),
        ranks=ranks,
    )


def _basis(start: Start, rank: RankFootprint) -> str:
    if start.device.kind != "cpu" and not rank.term("margin"):
        return "calibrated"
    return "fitted" if is_fitted(start.settings, start.device) else "margin"


def _is_given(start: Start) -> bool:
    return (start.known.kv_cache_bytes or start.settings.kv_cache_bytes) is not None


def _prospect(
    start: Start, ranks: tuple[RankFootprint, ...], pool: kv.Pool, budget: int, basis: str
) -> Prospect:
    return Prospect(
        facts=start.facts,
        settings=start.settings,
        device=start.device,
        ranks=ranks,
        request_bytes=pool.request_bytes,
        max_model_len=pool.max_model_len,
        budget_bytes=budget,
        sure=basis != "margin",
        given=_is_given(start),
    )


def _notes(start: Start, pool: kv.Pool, resolved: Resolved) -> tuple[str, ...]:
    notes = list(start.facts.notes)
    if len(pool.groups) > 1:
        notes.append(
            f"layers of several kinds share the KV cache: {len(pool.groups)} groups, "
            f"{pool.request_blocks} blocks for one request of {resolved.max_model_len:,} tokens"
        )
    if start.settings.pp > 1:
        notes.append("the pipeline rank with the fewest blocks bounds the tokens")
    return tuple(notes)
