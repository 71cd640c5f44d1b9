"""Why a start is not sure to succeed. `fits` means that there is no such reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from common.units import format_bytes
from placement.footprint.constants import capability_of
from placement.footprint.overheads import context_bytes, headroom_bytes, warm_up_bytes
from placement.footprint.settings import Device, RankFootprint, Settings
from placement.models.facts import ModelFacts
from placement.plan.demand import Layout, misfit

_BFLOAT16_SINCE = (8, 0)  # compute capability


@dataclass(frozen=True)
class Prospect:
    """A predicted start. `sure`: its constants were measured. `given`: its KV cache is known."""

    facts: ModelFacts
    settings: Settings
    device: Device
    ranks: tuple[RankFootprint, ...]
    request_bytes: tuple[int, ...]
    max_model_len: int
    budget_bytes: int
    sure: bool
    given: bool

    @property
    def free_bytes(self) -> int:
        """When the engine first looks: its context is there already."""
        device = self.device
        free = device.total_bytes if device.free_bytes is None else device.free_bytes
        return free - context_bytes(self.settings, device)


def doubts(of: Prospect) -> tuple[str, ...]:
    found: list[str | None] = [_cannot_be_split(of), _dtype_unknown_to_gpu(of)]
    pairs = zip(of.ranks, of.request_bytes, strict=True)
    found += [_too_small(of, rank, needed) for rank, needed in pairs]
    if of.device.kind == "cpu":
        found += [_over_memory(of, rank) for rank in of.ranks]
    else:
        found += _on_gpu(of)
    return tuple(dict.fromkeys(text for text in found if text))


def _on_gpu(of: Prospect) -> Iterator[str | None]:
    yield _share_not_free(of)
    for rank in of.ranks:
        yield _no_room_for_warm_up(of, rank)


def _cannot_be_split(of: Prospect) -> str | None:
    return misfit(of.facts, Layout(of.settings.tp, of.settings.pp))


def _dtype_unknown_to_gpu(of: Prospect) -> str | None:
    capability = capability_of(of.device)
    if of.settings.dtype != "bfloat16" or not capability or capability >= _BFLOAT16_SINCE:
        return None
    return f"{of.device.name} cannot compute in bfloat16; float16 or auto would do"


def _too_small(of: Prospect, rank: RankFootprint, needed: int) -> str | None:
    """The KV cache against one request of the full length. A given cache needs no margin."""
    sure = rank.kv_cache_bytes - (0 if of.given else rank.term("margin"))
    if sure >= needed:
        return None
    return (
        f"one request of {of.max_model_len:,} tokens needs {format_bytes(needed)} of KV "
        f"cache; {format_bytes(max(0, sure))} are sure"
    )


def _share_not_free(of: Prospect) -> str | None:
    if of.settings.kv_cache_bytes is not None or of.budget_bytes <= of.free_bytes:
        return None
    return (
        f"the engine's share of {format_bytes(of.budget_bytes)} is more than the "
        f"{format_bytes(of.free_bytes)} that are free"
    )


def _no_room_for_warm_up(of: Prospect, rank: RankFootprint) -> str | None:
    """Graphs and the last warm-up come when the KV cache is allocated already."""
    held = rank.kv_cache_bytes + sum(term.n_bytes for term in rank.terms if term.name != "margin")
    if of.settings.kv_cache_bytes is not None:
        held += rank.term("margin")
    needed = warm_up_bytes(of.facts, of.settings)
    needed += headroom_bytes(of.settings, of.device, sure=of.sure)
    left = max(0, of.free_bytes - held)
    if left >= needed:
        return None
    return (
        f"{format_bytes(left)} are left when the KV cache is allocated; graphs and warm-up may "
        f"need {format_bytes(needed)}"
    )


def _over_memory(of: Prospect, rank: RankFootprint) -> str | None:
    held = rank.kv_cache_bytes + sum(term.n_bytes for term in rank.terms)
    if held <= of.free_bytes:
        return None
    return f"{format_bytes(held)} are needed, {format_bytes(of.free_bytes)} are free"
