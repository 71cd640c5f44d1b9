"""Which models make room for another one: a plan, or a refusal that says why. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from math import inf

from engines.manager.amounts import Bytes, in_words, over, total
from engines.manager.states import ModelState

_EXHAUSTIVE_UP_TO = 10  # candidates: 1,024 sets
_HOLDING = frozenset({ModelState.READY, ModelState.SLEEPING, ModelState.FAILED})


@dataclass(frozen=True)
class Standing:
    """A model as the plan sees it. `holds` is what it takes now or has been promised.

    `fixed`: its room cannot be had now (promised to it, or its last unload has just failed).
    `in_demand`: idle for a moment only; the next request for it is likely to come before it could
    be loaded again.
    """

    name: str
    state: ModelState
    holds: Bytes
    asleep_bytes: Mapping[int, Bytes] = field(default_factory=dict)
    idle_since_s: float = 0.0
    reload_cost_s: float = 30.0
    in_flight: int = 0
    until_s: float = inf  # end of its keep_alive
    pinned: bool = False
    fixed: bool = False
    in_demand: bool = False


@dataclass(frozen=True)
class Victim:
    """`level` is the sleep level, 0 to unload; `leaves` is what it takes from then on."""

    name: str
    level: int = 0
    leaves: Bytes = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """`victims` go in this order; none of them when there is room."""

    victims: tuple[Victim, ...] = ()


class Because(StrEnum):
    TOO_LARGE = "too_large"  # for the budget itself: never
    PINNED = "pinned"  # as long as pinned models stay
    BUSY = "busy"  # until others are done


@dataclass(frozen=True)
class Refusal:
    because: Because
    reason: str


def plan(
    wanted: str,
    needs: Bytes,
    models: Sequence[Standing],
    budget: Bytes,
    now_s: float,
    *,
    is_due: bool = False,
) -> Plan | Refusal:
    """Only idle models make room: those that cost least to be without, and no more than needed.

    `is_due`: it has waited enough, so models that are in demand go as well.
    """
    others = _others(wanted, models)
    chosen = _cheapest(needs, others, [m for m in others if _is_idle(m, is_due)], budget, now_s)
    if chosen is None:
        return _refusal(wanted, needs, others, budget)
    return Plan(_put_to_sleep(needs, others, chosen, budget))


def in_the_way(
    wanted: str, needs: Bytes, models: Sequence[Standing], budget: Bytes, now_s: float
) -> frozenset[str]:
    """Those that must become idle before a plan can succeed; empty if that would not help yet."""
    others = _others(wanted, models)
    chosen = _cheapest(needs, others, [m for m in others if _may_go(m)], budget, now_s)
    return frozenset(m.name for m in chosen or ())


def _others(wanted: str, models: Sequence[Standing]) -> list[Standing]:
    return sorted((m for m in models if m.name != wanted), key=lambda m: m.name)


def _may_go(model: Standing) -> bool:
    return model.state in _HOLDING and not model.pinned and not model.fixed


def _is_idle(model: Standing, is_due: bool) -> bool:
    return _may_go(model) and not model.in_flight and (is_due or not model.in_demand)


def _cheapest(
    needs: Bytes,
    others: Sequence[Standing],
    candidates: Sequence[Standing],
    budget: Bytes,
    now_s: float,
) -> tuple[Standing, ...] | None:
    """The set without which the wanted one fits, that costs least; None if there is none."""
    taken = total([needs, *(m.holds for m in others)])
    short = [d for d in over(taken, budget) if d in needs]
    useful = [m for m in candidates if any(m.holds.get(d) for d in short)]
    if len(useful) > _EXHAUSTIVE_UP_TO:
        return _greedy(taken, short, useful, budget, now_s)
    fitting = (
        chosen
        for size in range(len(useful) + 1)
        for chosen in combinations(useful, size)
        if _frees(taken, short, chosen, budget)
    )
    best = min(fitting, key=lambda chosen: _cost(chosen, now_s), default=None)
    return best if best is None else _in_order(best, now_s)


def _greedy(
    taken: Bytes, short: Sequence[str], useful: Sequence[Standing], budget: Bytes, now_s: float
) -> tuple[Standing, ...] | None:
    """For many candidates: all of them, less each that need not go, the dearest first."""
    chosen = _in_order(useful, now_s)
    if not _frees(taken, short, chosen, budget):
        return None
    for model in reversed(chosen):
        without = tuple(m for m in chosen if m is not model)
        if _frees(taken, short, without, budget):
            chosen = without
    return chosen


def _in_order(models: Iterable[Standing], now_s: float) -> tuple[Standing, ...]:
    return tuple(sorted(models, key=lambda m: _cost((m,), now_s)))


def _frees(taken: Bytes, short: Sequence[str], chosen: Iterable[Standing], budget: Bytes) -> bool:
    freed = total(m.holds for m in chosen)
    return all(taken[d] - freed.get(d, 0) <= budget.get(d, 0) for d in short)


def _cost(chosen: Sequence[Standing], now_s: float) -> tuple[int, float, int, float, list[str]]:
    """What is kept for ever goes last, what is past its keep_alive first.

    Between them, seconds to load it again, the less the longer nobody has asked for it.
    """
    loss = {m.name: m.reload_cost_s / (1 + max(0.0, now_s - m.idle_since_s)) for m in chosen}
    return (
        sum(m.until_s == inf for m in chosen),
        sum(loss[m.name] for m in chosen if m.until_s > now_s),
        len(chosen),
        sum(loss.values()),
        sorted(loss),
    )


def _put_to_sleep(
    needs: Bytes, others: Sequence[Standing], chosen: Sequence[Standing], budget: Bytes
) -> tuple[Victim, ...]:
    """Level 1 before 2 before unloading, as far as the wanted one still fits beside the sleepers.

    The dearest to load again is asked first.
    """
    names = {m.name for m in chosen}
    staying = [needs, *(m.holds for m in others if m.name not in names)]
    victims: dict[str, Victim] = {}
    for model in sorted(chosen, key=lambda m: (-m.reload_cost_s, m.name)):
        victims[model.name] = victim = _gentlest(model, staying, budget)
        staying.append(victim.leaves)
    return tuple(victims[m.name] for m in chosen)


def _gentlest(model: Standing, staying: Sequence[Bytes], budget: Bytes) -> Victim:
    if model.state is ModelState.READY:
        for level, leaves in sorted(model.asleep_bytes.items()):
            if not over(total([*staying, leaves]), budget):
                return Victim(model.name, level, leaves)
    return Victim(model.name)


def _refusal(wanted: str, needs: Bytes, others: Sequence[Standing], budget: Bytes) -> Refusal:
    if short := over(needs, budget):
        return Refusal(
            Because.TOO_LARGE,
            f"{wanted} needs {in_words(needs, short)}; there is {in_words(budget, short)} in all",
        )
    pinned = [m for m in others if m.pinned]
    beside = total([needs, *(m.holds for m in pinned)])
    if short := tuple(d for d in over(beside, budget) if d in needs):
        return Refusal(
            Because.PINNED,
            f"{wanted} needs {in_words(needs, short)}; {_names(pinned, short)} pinned there",
        )
    short = tuple(d for d in over(total([needs, *(m.holds for m in others)]), budget) if d in needs)
    return Refusal(
        Because.BUSY,
        f"{wanted} needs {in_words(needs, short)}; {_names(others, short)} in use there",
    )


def _names(models: Iterable[Standing], devices: Iterable[str]) -> str:
    names = [m.name for m in models if any(m.holds.get(d) for d in devices)]
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
