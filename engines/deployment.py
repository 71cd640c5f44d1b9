"""A replica as a Ray Serve deployment: Serve starts it, checks it and starts it again.

Handles carry control only (`status`, `stop`); tokens go to the engine's own HTTP port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

import psutil
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application, RunTarget
from ray.serve.exceptions import RayServeException

from common.errors import EngineError
from common.logs import redirect_output
from engines import registry
from engines.base import EngineStatus, ReplicaSpec, Sleeper, State
from engines.warden import family, owned_by

_RETRY_AFTER_FAILURE_S = 30.0
_STOP_TIMEOUT_S = 15.0
_SLEEP_TIMEOUT_S = 100.0  # a guess: 200 GB of weights at 2 GB/s
_GONE_TIMEOUT_S = 20.0


class EngineReplica:
    """Lives in the replica's actor and owns one engine."""

    def __init__(self, spec: ReplicaSpec) -> None:
        redirect_output(Path(spec.log_path))
        os.environ.update(owned_by(os.getpid()))
        _leave_serves_log_file()
        self._failed_at: float | None = None
        self._engine = registry.create(spec)
        self._engine.start()

    async def status(self) -> dict[str, Any]:
        """EngineStatus as a dict."""
        return asdict(self._engine.status())

    async def stop(self) -> None:
        await asyncio.to_thread(self._engine.stop)

    async def sleep(self, level: int) -> None:
        assert isinstance(self._engine, Sleeper), "only what can is asked to"
        await asyncio.to_thread(self._engine.sleep, level)

    async def wake(self) -> None:
        if isinstance(self._engine, Sleeper):
            await asyncio.to_thread(self._engine.wake)

    def check_health(self) -> None:
        """Serve's health check. A failed load stays visible for a while, then is tried again."""
        status: EngineStatus = self._engine.status()
        if status.state is not State.FAILED:
            return
        self._failed_at = self._failed_at or time.monotonic()
        if time.monotonic() - self._failed_at > _RETRY_AFTER_FAILURE_S:
            raise RuntimeError(status.error)


def _leave_serves_log_file() -> None:
    """Serve's messages go to our own log alone.

    vLLM's logging set-up closes the handler of Serve's file, and a restarted Serve controller that
    asks such a replica for the file's name gets an error and ends the replica.
    """
    logger = logging.getLogger("ray.serve")
    for handler in [h for h in logger.handlers if isinstance(h, MemoryHandler)]:
        logger.removeHandler(handler)


def application_name(replica_id: str) -> str:
    """One Serve application a replica, so that each comes and goes by itself."""
    return f"model-{replica_id}"


def application(spec: ReplicaSpec) -> Application:
    """The Serve application of one replica."""
    deployment = serve.deployment(
        name=application_name(spec.id),
        num_replicas=1,
        max_ongoing_requests=100,
        # The plan places replicas by bytes and GPU ids; Ray's counting would get in its way.
        ray_actor_options={"num_cpus": 0},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        health_check_period_s=1.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=5.0,
        graceful_shutdown_wait_loop_s=0.1,
    )(EngineReplica)
    return deployment.bind(spec)


class ServeShed:
    """Starts and ends replicas' applications in the running Serve. Its calls block."""

    def running(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these replicas that have one; returns when none is on its way out."""
        give_up_at = time.monotonic() + _GONE_TIMEOUT_S
        while "DELETING" in (found := _statuses(ids)).values() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        return frozenset(found)

    def start(self, specs: Sequence[ReplicaSpec]) -> None:
        """Returns before they are ready."""
        serve.run_many(
            [RunTarget(application(s), application_name(s.id), route_prefix=None) for s in specs],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def trouble(self, spec: ReplicaSpec) -> str | None:
        """Why Serve itself could not start it, which the replica cannot tell."""
        found = serve.status().applications.get(application_name(spec.id))
        return found.message if found and found.status == "DEPLOY_FAILED" else None

    def sleep(self, spec: ReplicaSpec, level: int) -> None:
        """See Sleeper. Raises what the engine raised, RayError or TimeoutError."""
        handle = serve.get_app_handle(application_name(spec.id))
        handle.sleep.remote(level).result(timeout_s=_SLEEP_TIMEOUT_S)

    def wake(self, spec: ReplicaSpec) -> None:
        """The same of `wake`, which may read all weights again. A replica that is being started
        anew is awake."""
        handle = serve.get_app_handle(application_name(spec.id))
        handle.wake.remote().result(timeout_s=spec.load_timeout_s)

    def stop(self, spec: ReplicaSpec, pid: int) -> None:
        """Returns when its processes have gone; `pid` is its actor's, 0 if it never told. Nothing
        happens where there is none. Raises EngineError when something stays."""
        processes = family(pid) if pid else []
        with suppress(RayError, RayServeException, TimeoutError):
            handle = serve.get_app_handle(application_name(spec.id))
            handle.stop.remote().result(timeout_s=_STOP_TIMEOUT_S)
        serve.delete(application_name(spec.id))
        _, left = psutil.wait_procs(processes, timeout=_GONE_TIMEOUT_S)
        if left:
            raise EngineError(f"{spec.id}: process {left[0].pid} does not end")


def _statuses(ids: Collection[str]) -> dict[str, str]:
    """By replica."""
    found = serve.status().applications
    named = {each: found.get(application_name(each)) for each in ids}
    return {each: app.status.value for each, app in named.items() if app}
