"""The replicas of the models that are loaded and unloaded here: what the manager's calls do.

Replicas report to the lanes all the time; a load is done when one of the model's says READY. What
blocks runs in threads (`Shed`), everything else in the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import aiohttp

from common.errors import EngineLoadError, OutOfMemoryError
from engines.base import EngineStatus, ReplicaSpec, State
from router.dispatch import Dispatcher
from router.replicas import Lane, Replica

P = ParamSpec("P")
T = TypeVar("T")
_THREADS = 16
_LOOK_PERIOD_S = 0.05
_TROUBLE_PERIOD_S = 2.0
_START_S = 60.0  # of a replica's process, before its engine's own time to load begins


class Shed(Protocol):
    """Where replicas stand: Ray Serve, or a test's. Calls block; all may raise."""

    def running(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these replicas that have been started and not stopped."""

    def start(self, specs: Sequence[ReplicaSpec]) -> None:
        """Returns before they are ready."""

    def trouble(self, spec: ReplicaSpec) -> str | None:
        """Why its process cannot even be started."""

    def sleep(self, spec: ReplicaSpec, level: int) -> None:
        """See engines.base.Sleeper."""

    def wake(self, spec: ReplicaSpec) -> None:
        """The same."""

    def stop(self, spec: ReplicaSpec, pid: int) -> None:
        """Returns when its processes, `pid` and what that owns, have gone."""


class Fleet:
    """See engines.manager.work.Engines. Belongs to the gateway's event loop."""

    def __init__(
        self,
        specs: Sequence[ReplicaSpec],
        shed: Shed,
        dispatcher: Dispatcher,
        session: aiohttp.ClientSession,
    ) -> None:
        self.specs: dict[str, Sequence[ReplicaSpec]] = {
            model: [s for s in specs if s.model == model] for model in {s.model for s in specs}
        }
        self._models = {spec.id: spec.model for spec in specs}
        self._lanes = {model: dispatcher.lanes[model] for model in self.specs}
        self._there: set[str] = set()  # of which something may run
        self._afterwards: dict[str, Callable[[], None]] = {}
        self._shed = shed
        self._dispatcher = dispatcher
        self._session = session
        self._began_at = time.time()
        self._turns = dict.fromkeys(self.specs, 0)
        self._up: set[str] = set()
        self._failed: dict[str, EngineStatus] = {}
        # Its own, since names of providers are looked up in the loop's threads.
        self._threads = ThreadPoolExecutor(_THREADS, "fleet")

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    async def running(self) -> frozenset[str]:
        """Models of which a replica has been started, by an earlier router or with this one."""
        there = await self._in_thread(self._shed.running, tuple(self._models))
        return frozenset(self._models[each] for each in there)

    @property
    def is_settled(self) -> bool:
        """Nothing runs any more of what has been replaced or removed."""
        return not self._afterwards

    async def end(self, specs: Sequence[ReplicaSpec]) -> None:
        """What a router that died was about to end."""
        if not specs:
            return
        there = await self._in_thread(self._shed.running, [spec.id for spec in specs])
        gone = [spec for spec in specs if spec.id in there]
        await asyncio.gather(*(self._in_thread(self._shed.stop, spec, 0) for spec in gone))

    def turn_of(self, replica_id: str) -> int | None:
        """Which life of the replica a report is of; None where there is nobody to ask. May be
        called from any thread."""
        model = self._models.get(replica_id)
        return self._turns[model] if model is not None and model in self._up else None

    def report(self, replica_id: str, status: EngineStatus | None, turn: int) -> None:
        """A replica's own report, or None when it could not be had."""
        if self.turn_of(replica_id) == turn:
            self._hear(replica_id, status)

    @property
    def replica_ids(self) -> frozenset[str]:
        return frozenset(self._models)

    def add(self, model: str, specs: Sequence[ReplicaSpec]) -> None:
        """A new model of the dispatcher's. Not loaded yet."""
        self._lanes[model] = self._dispatcher.lanes[model]
        self._turns.setdefault(model, 0)
        self._set(model, specs)
        self.rest(model)

    def replace(
        self, model: str, specs: Sequence[ReplicaSpec], replicas: Sequence[Replica]
    ) -> None:
        """What it is from its next load on; the one that runs is ended as it was begun."""

        def replace() -> None:
            self._set(model, specs)
            self._dispatcher.refit(model, replicas)
            self.rest(model)

        self._lanes[model].on_demand = True  # the others are as ready as before
        self._at_rest(model, replace)

    def remove(self, model: str) -> None:
        """As soon as nothing of it runs."""

        def remove() -> None:
            self._set(model, ())
            del self.specs[model], self._lanes[model], self._turns[model]

        self._at_rest(model, remove)

    def _set(self, model: str, specs: Sequence[ReplicaSpec]) -> None:
        for spec in self.specs.get(model, ()):
            self._models.pop(spec.id, None)
        self.specs[model] = specs
        self._models.update({spec.id: model for spec in specs})
        self._failed.pop(model, None)

    def _at_rest(self, model: str, do: Callable[[], None]) -> None:
        """Now if nothing of it runs, else at the end of its unload."""
        if model in self._there:
            self._afterwards[model] = do
        else:
            do()

    def rest(self, model: str) -> None:
        """It is not loaded, and that is well."""
        self._lane(model).on_demand = True
        self._tell(model, EngineStatus(State.COLD))

    async def load(self, model: str) -> None:
        """Starts those of its replicas that do not run, and wakes those that do. Raises
        EngineLoadError."""
        began_at = time.monotonic()
        self._failed.pop(model, None)
        self._turns[model] += 1
        self._there.add(model)
        self._up.add(model)
        there = await self._in_thread(self._shed.running, [s.id for s in self.specs[model]])
        missing = [spec for spec in self.specs[model] if spec.id not in there]
        if missing:
            self._tell(model, EngineStatus(State.STARTING, "starting its process"), missing)
            await self._in_thread(self._shed.start, missing)
        await self._wake([spec for spec in self.specs[model] if spec.id in there])
        try:
            async with asyncio.timeout(_START_S + self.specs[model][0].load_timeout_s):
                await self._until_ready(model)
        except TimeoutError:
            waited_s = time.monotonic() - began_at
            raise self._failure(model, f"{model} was not ready after {waited_s:.0f} s") from None
        if missing:
            self._lane(model).load_s = time.monotonic() - began_at

    async def unload(self, model: str) -> None:
        self._up.discard(model)
        pids = {replica.id: replica.pid for replica in self._lane(model).replicas}
        self._tell(model, EngineStatus(State.STARTING, "ending"))
        stops = [
            self._in_thread(self._shed.stop, spec, pids[spec.id]) for spec in self.specs[model]
        ]
        outcomes = await asyncio.gather(*stops, return_exceptions=True)
        for error in outcomes:
            if error is not None:
                raise error
        self._there.discard(model)
        if afterwards := self._afterwards.pop(model, None):
            afterwards()
        elif model in self._failed:
            self._tell(model, self._failed[model])
        else:
            self.rest(model)

    async def sleep(self, model: str, level: int) -> None:
        """Its replicas give their memory back and keep their processes."""
        self._up.discard(model)
        self._tell(model, EngineStatus(State.STARTING, "falling asleep"))
        sleeps = [self._in_thread(self._shed.sleep, spec, level) for spec in self.specs[model]]
        for error in await asyncio.gather(*sleeps, return_exceptions=True):
            if error is not None:
                raise error
        self.rest(model)

    async def wake(self, model: str) -> None:
        """A replica whose process has ended in its sleep is started anew."""
        await self.load(model)

    async def _wake(self, specs: Sequence[ReplicaSpec]) -> None:
        sleepers = [spec for spec in specs if spec.can_sleep]
        await asyncio.gather(*(self._in_thread(self._shed.wake, spec) for spec in sleepers))

    async def warm_up(self, model: str) -> None:
        """Not of replicas that an earlier router has had loaded."""
        fresh = [r for r in self._lane(model).replicas if self._is_fresh(r)]
        await asyncio.gather(*(self._ask(replica) for replica in fresh))

    def _is_fresh(self, replica: Replica) -> bool:
        ready_at = replica.started_at + (replica.ready_after_s or 0.0)
        return replica.state is State.READY and ready_at > self._began_at

    async def _ask(self, replica: Replica) -> None:
        """One token. An engine without completions, as of a model that embeds, refuses that."""
        body = {"model": replica.model, "prompt": "Hi", "max_tokens": 1}
        headers = {"Authorization": f"Bearer {replica.token}"} if replica.token else {}
        url = f"{replica.url}/v1/completions"
        async with self._session.post(url, json=body, headers=headers) as answer:
            await answer.read()

    async def _until_ready(self, model: str) -> None:
        look_again_at = time.monotonic() + _TROUBLE_PERIOD_S
        while True:
            replicas = self._lane(model).replicas
            if any(replica.state is State.READY for replica in replicas):
                return
            if all(replica.state is State.FAILED for replica in replicas):
                raise self._failure(model, *_first_error(replicas))
            if time.monotonic() > look_again_at:
                await self._raise_if_in_trouble(model)
                look_again_at = time.monotonic() + _TROUBLE_PERIOD_S
            await asyncio.sleep(_LOOK_PERIOD_S)

    async def _raise_if_in_trouble(self, model: str) -> None:
        for spec in self.specs[model]:
            told = await self._in_thread(self._shed.trouble, spec)
            if told:
                raise self._failure(model, told)

    def _failure(self, model: str, message: str, code: str | None = None) -> EngineLoadError:
        """Which the replicas go on telling when there is nothing left of them."""
        kind = OutOfMemoryError if code == OutOfMemoryError.code else EngineLoadError
        self._failed[model] = EngineStatus(State.FAILED, error=message, error_code=kind.code)
        return kind(message)

    def _tell(
        self, model: str, status: EngineStatus, specs: Sequence[ReplicaSpec] | None = None
    ) -> None:
        for spec in specs or self.specs[model]:
            self._hear(spec.id, status)

    def _hear(self, replica_id: str, status: EngineStatus | None) -> None:
        """Lanes of models that have left the config are the fleet's alone."""
        model = self._models[replica_id]
        lane = self._lanes[model]
        if self._dispatcher.lanes.get(model) is lane:
            self._dispatcher.report(replica_id, status)
            return
        for replica in lane.replicas:
            if replica.id == replica_id:
                lane.report(replica, status)

    async def _in_thread(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Whoever is cancelled meanwhile still waits for its end, so that the next call comes
        later."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, partial(work, *given, **named))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise

    def _lane(self, model: str) -> Lane:
        return self._lanes[model]


def _first_error(replicas: Sequence[Replica]) -> tuple[str, str | None]:
    told = next((r for r in replicas if r.error), replicas[0])
    return told.error or "it did not load", told.error_code
