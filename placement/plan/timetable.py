"""Models that do not all fit at once: who stays, and who takes turns with whom. Pure.

While all fit they are planned together. Else the pinned ones come first, and leave what they do not
need; then the others in the config's order for as long as there is room; each of the rest gets a
plan of its own, in place of as few of the others as need be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from placement.plan.demand import Demand
from placement.plan.plan import Placement, Plan, Refusal


class Make(Protocol):
    def __call__(self, demands: Sequence[Demand], beside: Mapping[str, int]) -> Plan:
        """The plan of these on the box, of which others hold so many bytes by berth."""


@dataclass(frozen=True)
class Guest:
    """A model that is loaded for a request, while those that it takes the place of are not."""

    model: str
    placements: tuple[Placement, ...]
    instead_of: tuple[str, ...]


@dataclass(frozen=True)
class Timetable:
    """`together`: who has a place at the same time. A model of `refusals` fits nowhere, or not
    beside the pinned ones."""

    together: Plan
    guests: tuple[Guest, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def placements(self) -> tuple[Placement, ...]:
        return (*self.together.placements, *(p for g in self.guests for p in g.placements))

    @property
    def cores_each(self) -> int | None:
        """Physical cores of each replica, of those that run at once; None where it has all."""
        n_replicas, cores = len(self.together.placements), self.together.inventory.cpu.cores
        return max(1, len(cores) // n_replicas) if n_replicas > 1 and cores else None

    def guest_lines(self) -> list[str]:
        """For people."""
        return [
            f"{guest.model} is loaded on demand, in place of {' and '.join(guest.instead_of)}"
            for guest in self.guests
        ]

    @property
    def as_plan(self) -> Plan:
        """Of those that stand together, with what fits nowhere."""
        return replace(self.together, refusals=self.refusals)


def timetable(
    demands: Sequence[Demand],
    make: Make,
    *,
    pinned: Collection[str] = (),
    last: Collection[str] = (),
) -> Timetable:
    """Models of `last` are the first to take turns."""
    made = make(demands, {})
    if not made.refusals:
        return Timetable(made)
    demands = [replace(demand, modest=demand.model in pinned) for demand in demands]
    together, rest = _together(demands, make, pinned, last)
    if together.refusals:  # pinned ones: nobody can make room for them
        return Timetable(together, refusals=together.refusals)
    guests: list[Guest] = []
    refusals: list[Refusal] = []
    for demand in rest:
        found = beside(demand, make, together, pinned, guests)
        if isinstance(found, Guest):
            guests.append(found)
        else:
            refusals.extend(found)
    if not guests and not pinned:
        return Timetable(made, refusals=made.refusals)
    alone = _undisturbed(together, guests, pinned)
    if alone:
        placed = {each.model for each in together.placements}
        together = make([_generous(d, alone) for d in demands if d.model in placed], {})
    return Timetable(together, tuple(guests), tuple(refusals))


def _undisturbed(
    together: Plan, guests: Sequence[Guest], pinned: Collection[str]
) -> frozenset[str]:
    """Pinned models that have their GPUs to themselves, or with others of the kind."""
    placements = (*together.placements, *(p for guest in guests for p in guest.placements))
    others = {b.id for p in placements if p.model not in pinned for b in p.berths}
    stay = [p for p in together.placements if p.model in pinned]
    disturbed = {p.model for p in stay if any(b.id in others for b in p.berths)}
    return frozenset(p.model for p in stay) - disturbed


def _generous(demand: Demand, alone: Collection[str]) -> Demand:
    """With all that its GPUs have, but on no more of them, since guests count on the others."""
    if demand.model not in alone:
        return demand
    return replace(demand, modest=False, replicas=demand.replicas or 1)


def _together(
    demands: Sequence[Demand], make: Make, pinned: Collection[str], last: Collection[str]
) -> tuple[Plan, list[Demand]]:
    """As many as have room, in order; and the rest."""
    kept = [demand for demand in demands if demand.model in pinned]
    plan, rest = make(kept, {}), []
    if plan.refusals:
        return plan, []
    others = (demand for demand in demands if demand.model not in pinned)
    for demand in sorted(others, key=lambda each: each.model in last):
        more = make([d for d in demands if d in kept or d is demand], {})
        if more.refusals:
            rest.append(demand)
        else:
            plan = more
            kept.append(demand)
    return plan, rest


def beside(
    demand: Demand, make: Make, together: Plan, pinned: Collection[str], guests: Sequence[Guest]
) -> Guest | Sequence[Refusal]:
    """The model in place of as few as need be, of those that make room for the fewest already."""
    refusals: Sequence[Refusal] = ()
    for gone in _who_may_go(together, pinned, guests):
        staying = [p for p in together.placements if p.model not in gone]
        plan = make([demand], taken(staying))
        if not plan.refusals:
            return Guest(demand.model, plan.placements, gone)
        refusals = plan.refusals
    return refusals


def _who_may_go(
    together: Plan, pinned: Collection[str], guests: Sequence[Guest]
) -> Iterator[tuple[str, ...]]:
    """Each by itself first, then more and more of them, down to all. Once nobody, if all stay."""
    burden = Counter(name for guest in guests for name in guest.instead_of)
    models = list(dict.fromkeys(p.model for p in reversed(together.placements)))
    movable = sorted((m for m in models if m not in pinned), key=lambda m: burden[m])
    for model in movable:
        yield (model,)
    for count in range(2, len(movable) + 1):
        yield tuple(movable[:count])
    if not movable:
        yield ()


def taken(placements: Sequence[Placement]) -> Mapping[str, int]:
    taken: Counter[str] = Counter()
    for placed in placements:
        for berth in placed.berths:
            taken[berth.id] += placed.bytes_per_gpu
    return taken
