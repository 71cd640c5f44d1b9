"""The router as a Ray Serve deployment that listens itself.

uvicorn runs in a thread with an event loop of its own: Serve's proxies are not on a request's way,
and Serve's control calls do not wait behind requests. The replicas' reports are polled here and
handed over to that loop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from common.config import Config
from common.logs import redirect_output
from engines.base import EngineStatus, ReplicaSpec, State
from engines.deployment import ServeShed, application_name
from engines.manager.roster import Roster
from gateway import setup as setups
from gateway.app import Gateway
from gateway.applying import Applying
from gateway.far import Watches, far_replicas
from gateway.keeper import Keeper
from gateway.life_metrics import log_to_stderr
from gateway.listener import listen, server_config
from gateway.owned import of_spec
from router.dispatch import Dispatcher

_POLL_PERIOD_S = 0.5
_POLL_TIMEOUT_S = 2.0


class Router:
    """Lives in the router's actor. `handles` come from `serve run`; else apps are looked up.

    With a roster the models are loaded and unloaded from here; without, what is there stays.
    """

    def __init__(
        self,
        config: Config,
        specs: list[ReplicaSpec],
        admin_token: str,
        log_path: str,
        handles: Mapping[str, DeploymentHandle[Any]] | None = None,
        roster: Roster | None = None,
    ) -> None:
        redirect_output(Path(log_path))
        log_to_stderr()
        setup = setups.in_force(config.server.port, admin_token) if roster else None
        if setup:  # another config may have been applied since this router's first life began
            config, specs, roster = setup.config, list(setup.specs), setup.roster
        self._setup = setup
        leaving = setup.leaving if setup else ()
        self._config = config
        self._handles = dict(handles or {})
        self._last: dict[str, EngineStatus] = {}
        replicas = [of_spec(config, spec) for spec in specs] + far_replicas(config)
        self._dispatcher = Dispatcher(config, replicas)
        self._keeper = (
            Keeper(config, roster, specs, ServeShed(), self._dispatcher, leaving)
            if roster
            else None
        )
        self._gateway = Gateway(config, self._dispatcher, admin_token, self._keeper)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._listener = listen(config.server.host, config.server.port)
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._thread.start()
        self._started.wait()
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._following = asyncio.ensure_future(self._follow(frozenset(s.id for s in specs)))

    async def drain(self, timeout_s: float) -> bool:
        """See Gateway.drain."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(self._gateway.drain(timeout_s), self._loop)
        return await asyncio.wrap_future(future)

    def check_health(self) -> None:
        if not self._thread.is_alive():
            os._exit(1)  # the fast way to a new one

    def _run(self) -> None:
        import uvloop

        try:
            uvloop.run(self._serve())
        finally:
            self._started.set()  # nobody waits for what will not come; check_health tells

    async def _serve(self) -> None:
        import uvicorn

        self._loop = asyncio.get_running_loop()
        await self._gateway.start()
        # What is there now stays; the collector need not look through it during a request.
        gc.collect()
        gc.freeze()
        watches = Watches(self._gateway.session, self._dispatcher.report)
        watches.follow(self._config)
        if self._setup:
            setup = replace(self._setup, leaving=())
            setup.save()
            self._gateway.applying = Applying(
                self._gateway, setup, lambda setup: watches.follow(setup.config)
            )
        self._started.set()
        await uvicorn.Server(server_config(self._gateway)).serve(sockets=[self._listener])
        watches.close()
        await self._gateway.stop()

    async def _follow(self, ids: frozenset[str]) -> None:
        """Polls each replica that there is; they come and go with the config."""
        while True:
            if self._keeper:
                ids = self._keeper.fleet.replica_ids
            for gone in self._polls.keys() - ids:
                self._polls.pop(gone).cancel()
            for new in ids - self._polls.keys():
                self._polls[new] = asyncio.create_task(self._poll(new))
            await asyncio.sleep(_POLL_PERIOD_S)

    async def _poll(self, replica_id: str) -> None:
        """Asks one replica how it is, for as long as this router lives."""
        assert self._loop is not None
        if self._keeper:
            await self._poll_lives(replica_id, self._keeper, self._loop)
        while True:
            status = await self._ask(replica_id)
            self._loop.call_soon_threadsafe(self._dispatcher.report, replica_id, status)
            await asyncio.sleep(_POLL_PERIOD_S)

    async def _poll_lives(
        self, replica_id: str, keeper: Keeper, loop: asyncio.AbstractEventLoop
    ) -> None:
        """The same of a replica that comes and goes; between its lives nobody is asked."""
        before: int | None = None
        while True:
            turn = keeper.fleet.turn_of(replica_id)
            if turn != before:
                self._handles.pop(replica_id, None)
            if turn is not None:
                status = await self._ask(replica_id)
                loop.call_soon_threadsafe(keeper.fleet.report, replica_id, status, turn)
            before = turn
            await asyncio.sleep(_POLL_PERIOD_S)

    async def _ask(self, replica_id: str) -> EngineStatus | None:
        try:
            if replica_id not in self._handles:
                self._handles[replica_id] = serve.get_app_handle(application_name(replica_id))
            async with asyncio.timeout(_POLL_TIMEOUT_S):
                told = await self._handles[replica_id].status.remote()
        except TimeoutError:
            return await self._by_port(replica_id)
        except (RayError, RayServeException):
            return None
        self._last[replica_id] = EngineStatus(**{**told, "state": State(told["state"])})
        return self._last[replica_id]

    async def _by_port(self, replica_id: str) -> EngineStatus | None:
        """A replica that is only slow to report still listens; one that has died does not."""
        last = self._last.get(replica_id)
        return last if last and await accepts(last.url) else None


async def accepts(url: str | None) -> bool:
    """Does somebody listen there?"""
    host, _, port = (url or "").removeprefix("http://").rpartition(":")
    try:
        async with asyncio.timeout(_POLL_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError):
        return False
    writer.close()
    return True


def application(
    config: Config,
    specs: list[ReplicaSpec],
    admin_token: str,
    log_path: str,
    handles: Mapping[str, Any] | None = None,
    roster: Roster | None = None,
) -> Application:
    """The router's Serve application."""
    deployment = serve.deployment(
        name="router",
        num_replicas=1,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        health_check_period_s=1.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=2.0,
    )(Router)
    return deployment.bind(config, specs, admin_token, log_path, handles, roster)
