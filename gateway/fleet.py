"""The replicas of the models that are loaded and unloaded here: what the manager's calls do.

Replicas report to the lanes all the time; a load is done when one of the model's says READY. What
blocks runs in threads (`Shed`), everything else in the gateway's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
        self.specs: Mapping[str, list[ReplicaSpec]] = {
            model: [s for s in specs if s.model == model] for model in {s.model for s in specs}
        }
        self._models = {spec.id: spec.model for spec in specs}
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

    def turn_of(self, replica_id: str) -> int | None:
        """Which life of the replica a report is of; None where there is nobody to ask. May be
        called from any thread."""
        model = self._models[replica_id]
        return self._turns[model] if model in self._up else None

    def report(self, replica_id: str, status: EngineStatus | None, turn: int) -> None:
        """A replica's own report, or None when it could not be had."""
        if self.turn_of(replica_id) == turn:
            self._dispatcher.report(replica_id, status)

    def rest(self, model: str) -> None:
        """It is not loaded, and that is well."""
        self._lane(model).on_demand = True
        self._tell(model, EngineStatus(State.COLD))

    async def load(self, model: str) -> None:
        """Starts those of its replicas that do not run. Raises EngineLoadError."""
        began_at = time.monotonic()
        self._failed.pop(model, None)
        self._turns[model] += 1
        self._up.add(model)
        there = await self._in_thread(self._shed.running, [s.id for s in self.specs[model]])
        missing = [spec for spec in self.specs[model] if spec.id not in there]
        if missing:
            self._tell(model, EngineStatus(State.STARTING, "starting its process"), missing)
            await self._in_thread(self._shed.start, missing)
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
        if model in self._failed:
            self._tell(model, self._failed[model])
        else:
            self.rest(model)

    async def sleep(self, model: str, level: int) -> None:
        raise NotImplementedError  # no model is told to be able to

    async def wake(self, model: str) -> None:
        raise NotImplementedError

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
            self._dispatcher.report(spec.id, status)

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
        return self._dispatcher.lanes[model]


def _first_error(replicas: Sequence[Replica]) -> tuple[str, str | None]:
    told = next((r for r in replicas if r.error), replicas[0])
    return told.error or "it did not load", told.error_code
