"""`POST /admin/config`: another setup for the running router, in one step of its event loop.

What can fail comes first and changes nothing. Models that stay keep their lanes, replicas and
processes; requests that have a lane keep it to their end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from common.config import Config
from common.errors import BadRequestError, ConflictError, UsageError
from engines.base import ReplicaSpec
from engines.changes import Changes, changes, is_owned
from gateway import setup as setups
from gateway.far import far_replicas
from gateway.owned import of_spec
from gateway.setup import Setup
from router.dispatch import Dispatcher
from router.ensembles.asked import Known
from router.replicas import Replica

if TYPE_CHECKING:
    from gateway.app import Gateway

_log = logging.getLogger(__name__)
_LOOK_PERIOD_S = 0.2


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    setup: str


def applying_router(gateway: Gateway) -> APIRouter:
    router = APIRouter()

    @router.post("/admin/config")
    async def apply(wish: _Wish) -> JSONResponse:
        """Answers when it is in force; models end and load in their turn."""
        if gateway.applying is None:
            raise BadRequestError("`serve run` takes no other config; use `roundhouse serve`")
        done = await gateway.applying.apply(wish.setup)
        return JSONResponse(asdict(done))

    return router


class Applying:
    """`follow` is told what is in force, in the same step. Belongs to the gateway's event loop."""

    def __init__(self, gateway: Gateway, setup: Setup, follow: Callable[[Setup], None]) -> None:
        self.setup = setup
        self._gateway = gateway
        self._follow = follow
        self._is_busy = False
        self._settling: asyncio.Task[None] | None = None

    async def apply(self, setup_id: str) -> Changes:
        """Raises ConflictError (409) while another one is under way, or came in between."""
        if self._is_busy:
            raise ConflictError("another config is being applied")
        self._is_busy = True
        try:
            port, token = self._gateway.config.server.port, self.setup.token
            new = await asyncio.to_thread(setups.staged, port, setup_id, token)
            found = self._check(new)
            fresh = await asyncio.to_thread(self._fresh, new, found)
            new = replace(new, leaving=self._leaving(found))
            await asyncio.to_thread(new.save)
            self._take_over(new, found, fresh)
            self._settling = asyncio.create_task(self._settle(new))
        finally:
            self._is_busy = False
        _log.warning("%s", in_words(found))
        self._gateway.metrics.applied()
        return found

    def _check(self, new: Setup) -> Changes:
        if new.before != self.setup.id:
            raise ConflictError("another config has been applied meanwhile; try again")
        found = changes(self._gateway.config, new.config)
        refuse_fixed(found, BadRequestError)
        if self._gateway.draining:
            raise ConflictError("the server is shutting down")
        leaving = set(self._statuses()) & set(found.added)
        if leaving:
            raise ConflictError(f"{min(leaving)} was removed a moment ago and still drains")
        return found

    def _leaving(self, found: Changes) -> tuple[ReplicaSpec, ...]:
        gone = {*found.removed, *found.changed}
        return (*self.setup.leaving, *(s for s in self.setup.specs if s.model in gone))

    async def _settle(self, setup: Setup) -> None:
        """Until then a next router would first have to end what this one has not."""
        keeper = self._gateway.keeper
        while True:
            if keeper is None or keeper.fleet.is_settled:
                break
            await asyncio.sleep(_LOOK_PERIOD_S)
        if self.setup is setup and not self._is_busy:
            self.setup = replace(setup, leaving=())
            self.setup.save()

    def _statuses(self) -> dict[str, Any]:
        keeper = self._gateway.keeper
        return dict(keeper.statuses()) if keeper else {}

    def _fresh(self, new: Setup, found: Changes) -> Dispatcher:
        """With the replicas of models that are added, and of those elsewhere that have changed."""
        kept = _kept(new.config, found)
        replicas = [of_spec(new.config, s) for s in new.specs if s.model not in kept]
        replicas += [r for r in far_replicas(new.config, assume_up=True) if r.model not in kept]
        return Dispatcher(new.config, replicas)

    def _take_over(self, new: Setup, found: Changes, fresh: Dispatcher) -> None:
        """Nothing in here waits."""
        gateway = self._gateway
        gateway.dispatcher.become(fresh, _kept(new.config, found))
        # One object, of which the router's parts hold the same.
        vars(gateway.config).update(vars(new.config))
        for model in found.unchanged:
            for replica in gateway.dispatcher.lanes[model].replicas:
                _tune(gateway.config, replica, new.specs)
        if gateway.keeper:
            specs = {m.name: [s for s in new.specs if s.model == m.name] for m in new.roster.models}
            reload = [name for name in found.changed if is_owned(new.config, name)]
            gateway.keeper.change(gateway.config, new.roster, specs, reload)
        gateway.forwarder.change(new.config.router.retry, new.config.router.fallback)
        ensembles = new.config.ensembles, new.config.router.ensembles
        gateway.ensembles.known = Known(gateway.dispatcher.names, *ensembles)
        self.setup = new
        self._follow(new)


def refuse_fixed(found: Changes, kind: type[BadRequestError | UsageError]) -> None:
    """Raises an error of that kind."""
    if found.fixed:
        raise kind(f"needs a restart: {', '.join(found.fixed)}; nothing was changed")


def in_words(found: Changes) -> str:
    """For the log."""
    named = {k: v for k, v in asdict(found).items() if v and k not in ("unchanged", "fixed")}
    told = "; ".join(f"{kind} {', '.join(names)}" for kind, names in named.items())
    return f"config applied: {told or 'no change'}; {len(found.unchanged)} unchanged"


def _kept(config: Config, found: Changes) -> frozenset[str]:
    """Those that keep their lane. A changed model of our own does, as requests wait there."""
    changed = {name for name in found.changed if is_owned(config, name)}
    return frozenset(found.unchanged) | changed


def _tune(config: Config, replica: Replica, specs: tuple[ReplicaSpec, ...]) -> None:
    """What the router alone goes by."""
    replica.max_in_flight = config.max_in_flight_of(replica.model)
    for spec in specs:
        if spec.id == replica.id:
            replica.max_in_flight = of_spec(config, spec).max_in_flight
            aliases = set(config.models[spec.model].aliases)
            # An engine answers to the names that it was started with.
            replica.served_as = spec.model if aliases - set(spec.served_names) else None
