"""From the config and the plan to what the manager is told of the models. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.config import Config
from engines.manager.amounts import Bytes, over, total
from engines.manager.model import ManagedModel
from placement.plan.plan import Placement
from placement.plan.timetable import Timetable


@dataclass(frozen=True)
class Roster:
    """`preload`: who is loaded at the start, in the config's order."""

    models: tuple[ManagedModel, ...]
    budget: Bytes
    preload: tuple[str, ...]

    def fitting(self, running: Collection[str]) -> tuple[str, ...]:
        """Those that run already, and of `preload` as many as have room beside them."""
        needs = {model.name: model.vram_bytes for model in self.models}
        chosen = [name for name in needs if name in running]
        for name in self.preload:
            if name not in chosen and self._has_room([*chosen, name]):
                chosen.append(name)
        return tuple(chosen)

    def _has_room(self, names: Sequence[str]) -> bool:
        needs = {model.name: model.vram_bytes for model in self.models}
        return not over(total(needs[name] for name in names), self.budget)


def roster_of(config: Config, plan: Timetable) -> Roster:
    guests = {guest.model for guest in plan.guests}
    names = [name for name in config.models if _placements(plan, name)]
    return Roster(
        models=tuple(_model(config, plan, name) for name in names),
        budget={_device(berth.id): berth.budget_bytes for berth in plan.together.berths},
        preload=tuple(n for n in names if n not in guests and config.models[n].load == "start"),
    )


def _model(config: Config, plan: Timetable, name: str) -> ManagedModel:
    taken: Counter[str] = Counter()
    for placed in _placements(plan, name):
        for berth in placed.berths:
            taken[_device(berth.id)] += placed.bytes_per_gpu
    return ManagedModel(
        name,
        dict(taken),
        keep_alive=config.keep_alive_of(name),
        pinned=config.models[name].pinned,
    )


def _placements(plan: Timetable, name: str) -> list[Placement]:
    return [placed for placed in plan.placements if placed.model == name]


def _device(berth_id: str) -> str:
    """As amounts.py names it."""
    return "ram" if berth_id == "cpu" else f"gpu:{berth_id}"
