"""Models that come, change and go while requests for them come in at random."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from benchmarks import virtual_time
from common.errors import EngineLoadError, ModelNotFoundError, UnavailableError
from common.keep_alive import KeepAlive
from engines.manager.line import Bounds
from engines.manager.manager import Manager
from engines.manager.model import ManagedModel
from engines.manager.work import Limits
from tests.engines.manager.faulty import FaultyEngines

BUDGET = {"gpu:0": 24}
NAMES = [f"m{n}" for n in range(6)]
TRACES = 300


class ChangingEngines(FaultyEngines):
    """A model that is loaded is ended as it was begun; gateway/fleet.py does the same."""

    def __init__(self, models: list[ManagedModel], faults: float, seed: int) -> None:
        super().__init__(models, BUDGET, faults=faults, seed=seed)
        self._there: set[str] = set()
        self._next: dict[str, ManagedModel] = {}

    def become(self, models: dict[str, ManagedModel]) -> None:
        for name, model in models.items():
            self.held.setdefault(name, {})
            self._next[name] = model
            self._settle(name)

    def _settle(self, name: str) -> None:
        if name not in self._there and name in self._next:
            self.models[name] = self._next.pop(name)

    async def load(self, model: str) -> None:
        self._there.add(model)
        await super().load(model)

    async def unload(self, model: str) -> None:
        await super().unload(model)
        self._there.discard(model)
        self._settle(model)


class Trace:
    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.seen: Counter[str] = Counter()
        self.config = {name: self._model(name) for name in NAMES[: random.randint(1, 5)]}
        faults = random.choice([0.0, 0.0, 0.2])
        self.engines = ChangingEngines(list(self.config.values()), faults, seed)

    def _model(self, name: str) -> ManagedModel:
        keep_alive = KeepAlive(self.random.choice([0.0, 30.0, None]))
        size = self.random.randint(1, 24)
        return ManagedModel(name, {"gpu:0": size}, keep_alive=keep_alive, reload_cost_s=10.0)

    async def run(self) -> None:
        models, limits = self.config.values(), Limits(load_s=18.0, unload_s=18.0)
        async with Manager(models, BUDGET, self.engines, limits=limits) as manager:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._change(manager))
                for _ in range(40):
                    tasks.create_task(self._ask(manager, self.random.uniform(0.0, 400.0)))
            await asyncio.sleep(5000.0)  # what is to go has gone, failed unloads too
            self.left = {status.model for status in manager.status()}

    async def _change(self, manager: Manager) -> None:
        for _ in range(8):
            await asyncio.sleep(self.random.uniform(0.0, 60.0))
            leaving = {status.model for status in manager.status()} - set(self.config)
            before, after = self.config, dict(self.config)
            for name in self.random.sample(NAMES, 3):
                if name in after and self.random.random() < 0.5:
                    del after[name]
                elif name not in leaving:
                    after[name] = self._model(name)
            kept = {name for name in before if after.get(name) == before[name]}
            reload = set(before) & set(after) - kept
            self.config = after
            self.engines.become({n: m for n, m in after.items() if n not in kept})
            manager.change(after.values(), reload, Bounds())

    async def _ask(self, manager: Manager, at_s: float) -> None:
        await asyncio.sleep(at_s)
        model = self.random.choice(NAMES)
        try:
            with await manager.ensure_ready(model, 1e6):
                assert model in self.engines.able
                await asyncio.sleep(self.random.uniform(0.0, 20.0))
                assert model in self.engines.able, "it went while in use"
            self.seen["answered"] += 1
        except ModelNotFoundError:
            self.seen["gone"] += 1
        except EngineLoadError:
            self.seen["load failed"] += 1
        except UnavailableError:
            self.seen["no room"] += 1


def test_nothing_is_lost_or_over_committed_while_models_come_and_go() -> None:
    seen: Counter[str] = Counter()
    for seed in range(TRACES):
        trace = Trace(seed)
        virtual_time.run(trace.run())
        assert trace.engines.over_commits + trace.engines.overlaps == [], seed
        assert sum(trace.seen.values()) == 40, seed
        assert trace.left == set(trace.config), seed
        seen += trace.seen
    assert seen["answered"] > 10 * TRACES
    assert seen["gone"] > TRACES
    assert seen["no room"] == 0, "nobody is pinned, and each fits by itself"


def test_a_new_entry_that_needs_no_load_counts_at_once() -> None:
    async def change() -> None:
        model = ManagedModel("a", {"gpu:0": 1}, keep_alive=KeepAlive(None))
        engines = FaultyEngines([model], BUDGET)
        async with Manager([model], BUDGET, engines) as manager:
            (await manager.ensure_ready("a", 100.0)).release()
            manager.change([replace(model, keep_alive=KeepAlive(0.0))], set(), Bounds())
            assert engines.calls.count("load a") == 1
            (await manager.ensure_ready("a", 100.0)).release()
            await asyncio.sleep(100.0)
            assert engines.calls[-1] == "unload a"

    virtual_time.run(change())


def test_who_asks_for_a_model_that_leaves_hears_that_it_is_gone() -> None:
    async def change() -> None:
        models = [ManagedModel(name, {"gpu:0": 1}) for name in "ab"]
        async with Manager(models, BUDGET, FaultyEngines(models, BUDGET)) as manager:
            lease = await manager.ensure_ready("a", 100.0)
            manager.change(models[1:], set(), Bounds())
            with pytest.raises(ModelNotFoundError, match="'a' has been removed from the config"):
                await manager.ensure_ready("a", 100.0)
            assert {status.model for status in manager.status()} == {"a", "b"}
            lease.release()
            await asyncio.sleep(100.0)
            assert {status.model for status in manager.status()} == {"b"}

    virtual_time.run(change())
