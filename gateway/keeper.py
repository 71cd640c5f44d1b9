"""Keeps the models that are loaded here: the manager over the fleet, from start to end.

Lanes take their leases from it; `Gateway` opens and closes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import aiohttp
from prometheus_client import CollectorRegistry

from common.config import Config
from common.keep_alive import KeepAlive
from engines.base import EngineStatus, ReplicaSpec
from engines.manager.line import Bounds
from engines.manager.manager import Manager
from engines.manager.roster import Roster
from engines.manager.status import Status
from engines.manager.work import Limits
from gateway.fleet import Fleet, Shed
from gateway.life_metrics import LifeMetrics
from gateway.owned import of_spec
from router.dispatch import Dispatcher

_UNLOAD_S = 120.0  # more than the sum of the shed's own limits
_START_S = 120.0  # more than the fleet adds to a load's own limit


class Keeper:
    """`start` and `stop` must run in the event loop that serves the gateway."""

    def __init__(
        self,
        config: Config,
        roster: Roster,
        specs: Sequence[ReplicaSpec],
        shed: Shed,
        dispatcher: Dispatcher,
        leaving: Sequence[ReplicaSpec] = (),
    ) -> None:
        self.roster = roster
        self.wait_s = config.defaults.load_timeout_s  # how long a request may wait, if it says none
        self._config = config
        self._specs = specs
        self._shed = shed
        self._leaving = leaving
        self._dispatcher = dispatcher
        self._life = AsyncExitStack()
        self._loads: set[asyncio.Task[None]] = set()

    async def start(self, session: aiohttp.ClientSession, registry: CollectorRegistry) -> None:
        """Takes over what runs, and begins to load what is to be there from the start."""
        self.fleet = Fleet(self._specs, self._shed, self._dispatcher, session)
        await self.fleet.end(self._leaving)
        metrics = LifeMetrics(registry, self.statuses)
        self.manager = await self._life.enter_async_context(
            Manager(
                self.roster.models,
                self.roster.budget,
                self.fleet,
                bounds=_bounds(self._config),
                limits=Limits(load_s=self.wait_s + _START_S, unload_s=_UNLOAD_S),
                tell=metrics.tell,
            )
        )
        wanted = self.roster.fitting(await self.fleet.running())
        for model in self.roster.models:
            self._dispatcher.lanes[model.name].keeper = self.manager
            if model.name not in wanted:
                self.fleet.rest(model.name)
        for name in wanted:
            self.load(name)
        await asyncio.sleep(0)  # so that whoever asks now finds them loading

    def change(
        self,
        config: Config,
        roster: Roster,
        specs: Mapping[str, Sequence[ReplicaSpec]],
        reload: Collection[str],
    ) -> None:
        """To be called in the step in which the dispatcher becomes that of this config. Models
        that are not of the roster end, those of `reload` become what their specs say."""
        before = {model.name for model in self.roster.models}
        names = [model.name for model in roster.models]
        self.roster, self._config = roster, config
        for name in before - set(names):
            self.fleet.remove(name)
        for name in names:
            if name not in before:
                self.fleet.add(name, specs[name])
                self._dispatcher.lanes[name].keeper = self.manager
            elif name in reload:
                replicas = [of_spec(config, spec) for spec in specs[name]]
                self.fleet.replace(name, specs[name], replicas)
        self.manager.change(roster.models, reload, _bounds(config))
        for name in roster.preload:
            if name in reload or name not in before:
                self.load(name)

    async def stop(self) -> None:
        """Ends what waits; what is loaded is left to whoever ends the replicas."""
        for load in self._loads:
            load.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)
        await self._life.aclose()
        self.fleet.close()

    def load(self, model: str, keep_alive: KeepAlive | None = None) -> asyncio.Task[None]:
        """Begins it, or sees that it is loaded; the task ends when it is."""
        task = asyncio.create_task(self._load(model, keep_alive))
        self._loads.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, load: asyncio.Task[None]) -> None:
        """Where nobody waits for it, the log has told why one failed."""
        self._loads.discard(load)
        if not load.cancelled():
            load.exception()

    async def _load(self, model: str, keep_alive: KeepAlive | None) -> None:
        (await self.manager.ensure_ready(model, self.wait_s + _START_S, keep_alive)).release()

    def statuses(self) -> Mapping[str, Status]:
        return {status.model: status for status in self.manager.status()}

    def report(self, replica_id: str, status: EngineStatus | None, turn: int) -> None:
        """See Fleet.report."""
        self.fleet.report(replica_id, status, turn)


def _bounds(config: Config) -> Bounds:
    return Bounds(config.lifecycle.max_swaps, config.lifecycle.max_wait_s)
