"""More models beside those of a timetable, none of which moves. Pure.

What the former models were planned to take counts as theirs, whether they are loaded or not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from placement.plan.demand import Demand
from placement.plan.plan import Plan, Refusal
from placement.plan.timetable import Guest, Make, Timetable, beside, taken


def only(plan: Timetable, models: Collection[str]) -> Timetable:
    """Without the others, whose room is free."""
    together = replace(
        plan.together,
        placements=tuple(p for p in plan.together.placements if p.model in models),
        refusals=(),
    )
    guests = tuple(
        replace(guest, instead_of=tuple(n for n in guest.instead_of if n in models))
        for guest in plan.guests
        if guest.model in models
    )
    return Timetable(together, guests)


def extended(
    kept: Timetable,
    demands: Sequence[Demand],
    make: Make,
    *,
    pinned: Collection[str] = (),
    last: Collection[str] = (),
) -> Timetable:
    """Who finds no room beside the others takes turns with them."""
    made = make(demands, taken(kept.together.placements))
    if not made.refusals:
        return _checked(replace(kept, together=_with(kept.together, made)), pinned)
    together, guests = kept.together, list(kept.guests)
    rest: list[Demand] = []
    refusals: list[Refusal] = []
    for demand in sorted(demands, key=lambda d: (d.model not in pinned, d.model in last)):
        more = make([demand], taken(together.placements))
        if not more.refusals:
            together = _with(together, more)
        elif demand.model in pinned:
            refusals += more.refusals
        else:
            rest.append(demand)
    for demand in rest:
        found = beside(demand, make, together, pinned, guests)
        if isinstance(found, Guest):
            guests.append(found)
        else:
            refusals += found
    return _checked(Timetable(together, tuple(guests), tuple(refusals)), pinned)


def _with(plan: Plan, more: Plan) -> Plan:
    return replace(plan, placements=(*plan.placements, *more.placements))


def _checked(plan: Timetable, pinned: Collection[str]) -> Timetable:
    """A model that keeps its place may be pinned anew, or be left no room by those that are."""
    if plan.refusals:
        return plan
    budgets = {berth.id: berth.budget_bytes for berth in plan.together.berths}
    stay = [p for p in plan.placements if p.model in pinned]
    refusals = []
    for model in dict.fromkeys(p.model for p in plan.placements):
        own = [p for p in plan.placements if p.model == model and p.model not in pinned]
        needed = taken([*stay, *own])
        if any(n_bytes > budgets[berth] for berth, n_bytes in needed.items()):
            reason = "pinned models, which keep their places, leave too little room for it"
            refusals.append(Refusal(model, 1, reason, ()))
    return replace(plan, refusals=tuple(refusals))
