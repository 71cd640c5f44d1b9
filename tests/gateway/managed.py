"""A House whose models are loaded and unloaded: all of it is real but the processes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from common.config import Config
from engines import registry
from engines.base import EngineStatus, ReplicaSpec, State
from engines.manager.model import ManagedModel
from engines.manager.roster import Roster
from gateway.fleet import Fleet
from gateway.keeper import Keeper
from tests.fakes.running import FakeEngine
from tests.gateway.house import House

LOADED_BYTES = 10


class FakeShed:
    """Replicas are entries of a set, and one fake engine answers for all of them.

    `held`: models that do not become ready; `failing`: what they say instead, and its code.
    """

    def __init__(self, engine: FakeEngine) -> None:
        self.there: dict[str, ReplicaSpec] = {}
        self.starts: list[str] = []
        self.turns: list[str] = []
        self.asleep: set[str] = set()
        self.most_at_once = 0
        self.held: set[str] = set()
        self.failing: dict[str, tuple[str, str]] = {}
        self.troubled: dict[str, str] = {}
        self.report: Callable[[str, EngineStatus], None] = lambda replica, status: None
        self._url = engine.url
        self._pids = iter(range(1000, 9999))
        self._lock = threading.Lock()

    def running(self, ids: Collection[str]) -> frozenset[str]:
        return frozenset(self.there) & frozenset(ids)

    def start(self, specs: Sequence[ReplicaSpec]) -> None:
        with self._lock:
            for spec in specs:
                assert spec.id not in self.there, "started twice"
                self.there[spec.id] = spec
                self.starts.append(spec.model)
            self.most_at_once = max(self.most_at_once, len({s.model for s in self.there.values()}))
        for spec in specs:
            self.tell(spec)

    def trouble(self, spec: ReplicaSpec) -> str | None:
        return self.troubled.get(spec.model)

    def sleep(self, spec: ReplicaSpec, level: int) -> None:
        self.turns.append(f"{spec.model} sleeps at {level}")
        self.asleep.add(spec.id)

    def wake(self, spec: ReplicaSpec) -> None:
        if spec.id in self.asleep:
            self.turns.append(f"{spec.model} wakes")
            self.asleep.discard(spec.id)
        self.tell(spec)

    def stop(self, spec: ReplicaSpec, pid: int) -> None:
        self.there.pop(spec.id, None)
        self.asleep.discard(spec.id)

    def let(self, model: str) -> None:
        self.held.discard(model)
        for spec in list(self.there.values()):
            if spec.model == model:
                self.tell(spec)

    def tell(self, spec: ReplicaSpec) -> None:
        if spec.model in self.failing:
            message, code = self.failing[spec.model]
            self.report(spec.id, EngineStatus(State.FAILED, error=message, error_code=code))
        elif spec.model not in self.held:
            now = time.time()
            ready = EngineStatus(
                State.READY, url=self._url, pid=next(self._pids), started_at=now, ready_after_s=0.01
            )
            self.report(spec.id, ready)


class ManagedHouse(House):
    """Each model of the config takes LOADED_BYTES of a box that has room for `room` of them."""

    def __init__(
        self, config: Config, shed: FakeShed, room: int, on_demand: Sequence[str] = ()
    ) -> None:
        self.shed, self._room = shed, room
        self._on_demand = on_demand
        super().__init__(config)
        for replica in self.dispatcher.replicas.values():
            if replica.model in self.managed:
                for state in (State.COLD, State.STARTING):  # and no process of before
                    self.dispatcher.report(replica.id, EngineStatus(state))
        shed.report = self._report

    def keeper(self, config: Config) -> Keeper:
        self.managed = [n for n in config.models if config.engine_of(n) in registry.OWNED]
        specs = [spec_of(config, name) for name in self.managed]
        return Keeper(config, self.roster(config), specs, self.shed, self.dispatcher)

    def roster(self, config: Config) -> Roster:
        managed = [n for n in config.models if config.engine_of(n) in registry.OWNED]
        models = [
            ManagedModel(
                name,
                {"ram": LOADED_BYTES},
                asleep_bytes={1: {"host": 1}} if config.engine_of(name) == "vllm" else {},
                keep_alive=config.keep_alive_of(name),
                pinned=config.models[name].pinned,
            )
            for name in managed
        ]
        preload = [
            name
            for name in managed
            if name not in self._on_demand and config.models[name].load == "start"
        ]
        budget = {"ram": self._room * LOADED_BYTES, "host": 2}
        return Roster(tuple(models), budget, tuple(preload))

    @property
    def fleet(self) -> Fleet:
        assert self.gateway.keeper
        return self.gateway.keeper.fleet

    def states(self) -> Mapping[str, str]:
        """By model, as the manager has them."""
        assert self.gateway.keeper
        return {name: str(s.state) for name, s in self.gateway.keeper.statuses().items()}

    def waiting(self, model: str) -> int:
        assert self.gateway.keeper
        return self.gateway.keeper.statuses()[model].waiting

    def loads(self) -> Counter[str]:
        return Counter(self.shed.starts)

    def _report(self, replica_id: str, status: EngineStatus) -> None:
        def tell() -> None:
            turn = self.fleet.turn_of(replica_id)
            if turn is not None:
                self.fleet.report(replica_id, status, turn)

        self._loop.call_soon_threadsafe(tell)


def gguf(**more: Any) -> dict[str, Any]:
    """A model's entry."""
    return {"source": "/nowhere/model.gguf", **more}


def sleeper(**more: Any) -> dict[str, Any]:
    """The entry of a model that can sleep, as vLLM's on GPUs."""
    return {
        "source": "/nowhere",
        "engine": "vllm",
        "engine_args": {"enable_sleep_mode": True},
    } | more


def spec_of(config: Config, name: str) -> ReplicaSpec:
    return ReplicaSpec(
        id=f"{name}-0",
        model=name,
        engine=config.engine_of(name),
        on_cpu=config.engine_of(name) != "vllm",
        source="/nowhere/model.gguf",
        served_names=(name,),
        engine_args=config.models[name].engine_args,
        log_path="",
        load_timeout_s=config.defaults.load_timeout_s,
        stall_timeout_s=config.defaults.stall_timeout_s,
    )
