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
from engines.endpoint import Remote, remotes_of
from engines.manager.roster import Roster
from engines.ollama.served import by_server, served
from engines.ollama.watch import watch_server
from engines.remote import watch_remote
from gateway.app import Gateway
from gateway.keeper import Keeper
from gateway.life_metrics import log_to_stderr
from gateway.listener import listen, server_config
from gateway.ollama import of_ollama
from gateway.owned import of_spec
from router.dispatch import Dispatcher
from router.replicas import Replica

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
        self._config = config
        self._handles = dict(handles or {})
        self._last: dict[str, EngineStatus] = {}
        self._remotes = remotes_of(config)
        self._ollama = served(config, os.environ)
        replicas = [of_spec(config, spec) for spec in specs] + [
            _remote(config, r) for r in self._remotes
        ]
        replicas += [of_ollama(config, each) for each in self._ollama]
        self._dispatcher = Dispatcher(config, replicas)
        self._keeper = (
            Keeper(config, roster, specs, ServeShed(), self._dispatcher) if roster else None
        )
        self._gateway = Gateway(config, self._dispatcher, admin_token, self._keeper)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._listener = listen(config.server.host, config.server.port)
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self._thread.start()
        self._started.wait()
        self._polls = [asyncio.ensure_future(self._poll(spec.id)) for spec in specs]

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
        session = self._gateway.session
        watches = [
            asyncio.create_task(watch_remote(remote, session, self._dispatcher.report))
            for remote in self._remotes
        ]
        watches += [
            asyncio.create_task(watch_server(url, models, session, self._dispatcher.report))
            for url, models in by_server(self._ollama).items()
        ]
        self._started.set()
        await uvicorn.Server(server_config(self._gateway)).serve(sockets=[self._listener])
        for watch in watches:
            watch.cancel()
        await self._gateway.stop()

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


def _remote(config: Config, remote: Remote) -> Replica:
    limit = config.max_in_flight_of(remote.model)
    return Replica(remote.id, remote.model, limit, endpoint=remote.endpoint)
