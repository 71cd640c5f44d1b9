"""From config and plan to what the manager is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from common.config import Config
from common.keep_alive import KeepAlive
from common.units import GIB
from engines.manager.roster import Roster, roster_of
from placement.footprint.settings import Settings
from placement.inventory.inventory import Inventory
from placement.plan.demand import Demand
from placement.plan.planner import Plan, make
from placement.plan.timetable import timetable
from tests.placement.boxes import box, llama


def on(inventory: Inventory, demands: Sequence[Demand], beside: Mapping[str, int]) -> Plan:
    return make(demands, inventory, reserve_bytes=GIB, beside=beside)


def roster(models: dict[str, Any], demands: Sequence[Demand], inventory: Inventory) -> Roster:
    entries = {name: {"source": "org/model", **entry} for name, entry in models.items()}
    config = Config.model_validate({"models": entries, "defaults": {"keep_alive": "10m"}})
    return roster_of(config, timetable(demands, partial(on, inventory)))


def on_cpu(name: str, gib: float) -> Demand:
    settings = Settings(kv_cache_bytes=int(gib * GIB))
    return Demand(name, llama(1, context=2048), settings=settings)


CPU = box(cores=4, free_gib=48)


def test_bytes_of_main_memory_and_how_long_each_stays() -> None:
    models = {"a": {"pinned": True}, "b": {"keep_alive": -1}, "c": {}}
    made = roster(models, [on_cpu(name, 16) for name in "abc"], CPU)
    assert made.budget == {"ram": 48 * GIB}
    assert [model.name for model in made.models] == ["a", "b", "c"]
    assert all(16 * GIB < m.vram_bytes["ram"] < 24 * GIB for m in made.models)
    assert [m.pinned for m in made.models] == [True, False, False]
    keeps = [m.keep_alive for m in made.models]
    assert keeps == [KeepAlive(600), KeepAlive(None), KeepAlive(600)]
    assert made.preload == ("a", "b")


def test_a_model_on_demand_is_not_preloaded_though_it_fits() -> None:
    made = roster({"a": {"load": "on_demand"}, "b": {}}, [on_cpu(n, 4) for n in "ab"], CPU)
    assert made.preload == ("b",)


def test_each_replica_counts_on_its_own_card() -> None:
    demands = [Demand("a", llama(8), replicas=2), Demand("b", llama(8), replicas=1)]
    made = roster({"a": {}, "b": {}}, demands, box(3, "RTX 5090"))
    one, other = (model.vram_bytes for model in made.models)
    assert len(one) == 2
    assert len(other) == 1
    assert set(one) | set(other) == set(made.budget) == {"gpu:0", "gpu:1", "gpu:2"}
    assert all(one[device] <= made.budget[device] for device in one)


def test_what_a_sleeper_keeps_of_its_cards_and_of_main_memory() -> None:
    models = {"a": {"engine_args": {"enable_sleep_mode": True}}, "b": {}}
    demands = [Demand("a", llama(8), replicas=2), Demand("b", llama(8), replicas=1)]
    inventory = box(3, "RTX 5090", free_gib=64)
    made = roster(models, demands, inventory)
    one, other = made.models
    assert other.asleep_bytes == {}
    assert made.budget["ram"] == 32 * GIB
    light, deep = one.asleep_bytes[1], one.asleep_bytes[2]
    assert light["ram"] == pytest.approx(2 * 8e9 * 2, rel=0.02), "two replicas, bfloat16"
    assert set(deep) == set(one.vram_bytes)
    assert {gpu: light[gpu] for gpu in deep} == deep
    assert all(0 < deep[gpu] < one.vram_bytes[gpu] / 4 for gpu in deep)


def test_no_engine_sleeps_on_a_cpu() -> None:
    asked = {"a": {"engine_args": {"enable_sleep_mode": True}}}
    assert roster(asked, [on_cpu("a", 4)], CPU).models[0].asleep_bytes == {}


def test_after_a_restart_what_runs_stays_and_the_rest_of_the_start_comes_if_it_fits() -> None:
    demands = [on_cpu(name, 16) for name in "abc"]
    made = roster({"a": {}, "b": {}, "c": {}}, demands, CPU)
    assert made.preload == ("a", "b")
    assert made.fitting([]) == ("a", "b")
    assert made.fitting(["c"]) == ("c", "a")
    assert made.fitting(["b", "c"]) == ("b", "c")
