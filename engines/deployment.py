"""A replica as a Ray Serve deployment: Serve starts it, checks it and starts it again.

Handles carry control only (`status`, `stop`); tokens go to the engine's own HTTP port.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import asdict
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve import Application

from common.logs import redirect_output
from engines import registry
from engines.base import EngineStatus, ReplicaSpec, State
from engines.warden import owned_by

_RETRY_AFTER_FAILURE_S = 30.0


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
    )(EngineReplica)
    return deployment.bind(spec)
