"""From the config and the plan to what the manager is told of the models. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from common.config import Config
from engines.manager.amounts import Bytes, over, total
from engines.manager.model import ManagedModel
from placement.plan.plan import Placement
from placement.plan.timetable import Timetable

_FOR_SLEEPERS = 0.5  # of the main memory that is free: weights of models that sleep at level 1


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
    models = tuple(_model(config, plan, name) for name in names)
    budget = {_device(berth.id): berth.budget_bytes for berth in plan.together.berths}
    if any(model.asleep_bytes for model in models):
        free_bytes = plan.together.inventory.cpu.available_memory_bytes
        budget["ram"] = int(free_bytes * _FOR_SLEEPERS)
    return Roster(
        models=models,
        budget=budget,
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
        asleep_bytes=_asleep(config, plan, name),
        keep_alive=config.keep_alive_of(name),
        pinned=config.models[name].pinned,
    )


def _asleep(config: Config, plan: Timetable, name: str) -> Mapping[int, Bytes]:
    """By level: on GPUs stays what is neither weights nor KV cache. For vLLM on GPUs, and where
    `enable_sleep_mode` says so, since it has another allocator then."""
    asked = config.models[name].engine_args.get("enable_sleep_mode")
    if not asked or config.engine_of(name) != "vllm":
        return {}
    stays: Counter[str] = Counter()
    weights_bytes = 0
    for placed in _placements(plan, name):
        footprint = placed.footprint
        if not placed.gpu_ids:
            return {}
        drops = footprint.term("weights") + max(0, footprint.kv_cache_bytes)
        for berth in placed.berths:
            stays[_device(berth.id)] += max(0, placed.bytes_per_gpu - drops)
            weights_bytes += footprint.term("weights")
    return {1: {**stays, "ram": weights_bytes}, 2: dict(stays)}


def _placements(plan: Timetable, name: str) -> list[Placement]:
    return [placed for placed in plan.placements if placed.model == name]


def _device(berth_id: str) -> str:
    """As amounts.py names it."""
    return "ram" if berth_id == "cpu" else f"gpu:{berth_id}"
