"""A thousand random traces: nothing is over-committed, nobody is lost, nobody starves."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from benchmarks import virtual_time
from common.errors import DeadlineError, EngineLoadError, UnavailableError
from common.keep_alive import KeepAlive
from engines.manager.amounts import Bytes, over
from engines.manager.line import Bounds
from engines.manager.manager import Manager
from engines.manager.model import ManagedModel
from engines.manager.record import Event
from engines.manager.states import ModelState
from engines.manager.work import Limits
from tests.engines.manager.faulty import FaultyEngines

TRACES = 1000
_BATCHES = 20
_NEVER_S = 1e6
_SLACK_S = 1e-6  # of the clock's own arithmetic


@dataclass
class Asked:
    """A request that waits. `overtaken` is counted from the events, not by the manager."""

    number: int
    model: str
    task: asyncio.Task[None]
    overtaken: int = 0


@dataclass
class Trace:
    """One random box with random models, and what became of every request."""

    seed: int
    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    waiting: list[Asked] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)  # of those who wait for a model
    in_use: Counter[str] = field(default_factory=Counter)
    n_asked: int = 0

    def __post_init__(self) -> None:
        self.random = random = Random(self.seed)
        self.budget: Bytes = {"gpu:0": 24, "gpu:1": random.choice([0, 24]), "ram": 40}
        self.models = [self._model(n) for n in range(random.randint(2, 6))]
        self.bounds = Bounds(random.randint(0, 5), random.choice([0.0, 5.0, 30.0, 120.0]))
        share = random.choice([0.0, 0.0, 0.1, 0.4])
        self.engines = FaultyEngines(self.models, self.budget, faults=share, seed=self.seed)
        self.n_requests = random.randint(20, 60)
        self.span_s = random.choice([0.0, 60.0, 600.0, 3000.0])

    def _model(self, n: int) -> ManagedModel:
        random = self.random
        size = random.randint(1, 26)
        gpu = random.choice(["gpu:0", "gpu:0", "gpu:1"])
        levels = {1: {"ram": size, gpu: 1}, 2: {gpu: 1}}
        return ManagedModel(
            f"m{n}",
            {gpu: size} if random.random() < 0.8 else {"gpu:0": size, "gpu:1": size},
            asleep_bytes=random.choice([{}, {}, levels, {1: levels[1]}]),
            reload_cost_s=random.uniform(1.0, 60.0),
            keep_alive=KeepAlive(random.choice([0.0, 5.0, 300.0, None])),
            pinned=random.random() < 0.1,
        )

    async def run(self) -> None:
        """Requests, the death of an engine now and then, and at the end a last question to all."""
        limits = Limits(load_s=18.0, unload_s=18.0)  # some of the calls take longer
        manager = Manager(
            self.models,
            self.budget,
            self.engines,
            bounds=self.bounds,
            limits=limits,
            tell=self._told,
        )
        async with manager:
            asked = [self._begin(manager) for _ in range(self.n_requests)]
            deaths = [asyncio.ensure_future(self._death(manager)) for _ in range(2)]
            await asyncio.wait([*asked, *deaths])
            for task in [*asked, *deaths]:
                if not task.cancelled() and task.exception():
                    self.faults.append(repr(task.exception()))
            await self._last_question(manager)
        self.faults += self.engines.over_commits + self.engines.overlaps

    def _begin(self, manager: Manager) -> asyncio.Task[None]:
        random = self.random
        at_s = random.uniform(0.0, self.span_s)
        task = asyncio.ensure_future(self._ask(manager, at_s))
        if random.random() < 0.15:
            hang_up_at_s = at_s + random.uniform(0.0, 60.0)
            asyncio.get_running_loop().call_later(hang_up_at_s, task.cancel)
        return task

    async def _ask(self, manager: Manager, at_s: float) -> None:
        random = self.random
        model = random.choice(self.models)
        deadline_s = random.choice([0.0, 10.0, 60.0, _NEVER_S])
        keep_alive = random.choice([None, None, KeepAlive(0.0), KeepAlive(30.0), KeepAlive(None)])
        service_s = random.uniform(0.0, 20.0)
        clock = asyncio.get_running_loop().time
        end = "no end"
        await asyncio.sleep(at_s)
        began_at_s, n_events = clock(), len(self.events)
        asked = self._joins(model.name)
        try:
            try:
                lease = await manager.ensure_ready(model.name, deadline_s, keep_alive)
            finally:
                self.waiting.remove(asked)
        except DeadlineError:
            end = "deadline"
            self._check(deadline_s < _NEVER_S, f"{model.name} was never ready")
        except EngineLoadError as error:
            end = "load failed"
            self._check((error.retry_after_s or 0) > 0, "no Retry-After")
        except UnavailableError:
            end = "no room"
            self._check(self._can_have_none(model), f"{model.name} was refused room")
        except asyncio.CancelledError:
            end = "hung up"
            raise
        else:
            end = "answered"
            with lease:
                self._fair(model.name, lease.overtaken, self.events[n_events:])
                self.in_use[model.name] += 1
                try:
                    await self._use(model.name, service_s)
                finally:
                    self.in_use[model.name] -= 1
        finally:
            self.ends[end] += 1
            late_s = clock() - began_at_s - deadline_s
            self._check(end == "answered" or late_s <= _SLACK_S, f"{late_s} s late")

    def _joins(self, model: str) -> Asked:
        task = asyncio.current_task()
        assert task
        asked = Asked(self.n_asked, model, task)
        self.n_asked += 1
        if not any(each.model == model for each in self.waiting):
            self.first[model] = asked.number
        self.waiting.append(asked)
        return asked

    def _told(self, event: Event) -> None:
        self.events.append(event)
        if event.after is ModelState.LOADING:
            self._count_overtaken(event.model)
        if event.after is ModelState.DRAINING:
            pinned = next(m.pinned for m in self.models if m.name == event.model)
            clearing_up = event.before is ModelState.FAILED
            self._check(clearing_up or not pinned, f"{event.model} is pinned and went")
            free = clearing_up or not self.in_use[event.model]  # a dead one's users may remain
            self._check(free, f"{event.model} is busy and went")
        if event.after is ModelState.READY:
            self._hang_up_at_the_worst_moment(event.model)

    def _count_overtaken(self, model: str) -> None:
        loading = {e.model: e.after is ModelState.LOADING for e in self.events}
        passed = [
            asked
            for asked in self.waiting
            if not loading.get(asked.model) and asked.number < self.first[model]
        ]
        # In a millisecond, because some of them have been answered in this very turn.
        asyncio.get_running_loop().call_later(0.001, self._overtaken, passed)

    def _overtaken(self, passed: list[Asked]) -> None:
        for asked in passed:
            asked.overtaken += asked in self.waiting
            many = asked.overtaken > self.bounds.max_swaps
            self._check(not many, f"{asked.model} was overtaken {asked.overtaken} times")

    def _hang_up_at_the_worst_moment(self, model: str) -> None:
        """Just before it is granted, or after that and before its task runs on."""
        for asked in [each for each in self.waiting if each.model == model]:
            if self.random.random() < 0.1:
                asked.task.cancel()
            elif self.random.random() < 0.1:
                asyncio.get_running_loop().call_soon(asked.task.cancel)

    async def _use(self, model: str, service_s: float) -> None:
        """While it is in use it must be there, unless its engine died."""
        deaths = self._deaths(model)
        self._check(model in self.engines.able, f"{model} is not loaded")
        await asyncio.sleep(service_s)
        gone = model not in self.engines.able
        self._check(not gone or self._deaths(model) > deaths, f"{model} went while in use")

    def _deaths(self, model: str) -> int:
        ready_to_failed = (ModelState.READY, ModelState.FAILED)
        return sum(e.model == model and (e.before, e.after) == ready_to_failed for e in self.events)

    def _fair(self, model: str, overtaken: int, meanwhile: list[Event]) -> None:
        """The manager's own count, and one that is taken from the events alone.

        Apart from those who came later, every other model may have had one load under way or due.
        """
        swaps = sum(e.after is ModelState.LOADING and e.model != model for e in meanwhile)
        self._check(overtaken <= self.bounds.max_swaps, f"overtaken {overtaken} times")
        most = self.bounds.max_swaps + len(self.models) - 1
        self._check(swaps <= most, f"{model} waited behind {swaps} swaps")

    def _can_have_none(self, model: ManagedModel) -> bool:
        pinned = [m for m in self.models if m.pinned and m is not model]
        beside = {
            d: n + sum(m.vram_bytes.get(d, 0) for m in pinned) for d, n in model.vram_bytes.items()
        }
        return bool(over(beside, self.budget))

    async def _death(self, manager: Manager) -> None:
        await asyncio.sleep(self.random.uniform(0.0, self.span_s + 60.0))
        model = self.random.choice(self.models).name
        if any(s.model == model and s.state is ModelState.READY for s in manager.status()):
            self.engines.able.discard(model)
        manager.lost(model, RuntimeError("died"))

    async def _last_question(self, manager: Manager) -> None:
        """When all is over nothing is counted any more, and every model can still be had."""
        self.engines.faults = 0.0
        await asyncio.sleep(2000.0)  # every pause is over
        for status in manager.status():
            self._check(not (status.in_flight or status.waiting), f"left over: {status}")
        manager._limits = Limits(load_s=60.0, unload_s=60.0)
        for model in self.models:
            if not self._can_have_none(model):
                with await manager.ensure_ready(model.name, 500.0):
                    self._check(model.name in self.engines.able, f"{model.name} is not loaded")

    def _check(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_random_traces(batch: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")  # every fault that is made up would be logged
    per_batch = TRACES // _BATCHES
    ends: Counter[str] = Counter()
    for seed in range(batch * per_batch, (batch + 1) * per_batch):
        trace = Trace(seed)
        virtual_time.run(trace.run())
        assert trace.faults == [], f"seed {seed}"
        assert sum(trace.ends.values()) == trace.n_requests, f"seed {seed}"
        ends += trace.ends
    assert set(ends) == {"answered", "deadline", "load failed", "no room", "hung up"}
