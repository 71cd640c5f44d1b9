"""What engines are asked to do, with a limit to each, and what is left when it did not work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from common.errors import EngineLoadError, RoundhouseError
from engines.manager.books import Job, Verb

_log = logging.getLogger(__name__)


class Engines(Protocol):
    """What runs the models. Each call returns when it is done, and raises when it did not work.

    A call that takes too long is cancelled. After a `load`, `wake` or `sleep` that failed, `unload`
    is called; it must free all that is left, and be harmless where nothing is.
    """

    async def load(self, model: str) -> None: ...

    async def wake(self, model: str) -> None: ...

    async def sleep(self, model: str, level: int) -> None: ...

    async def unload(self, model: str) -> None: ...

    async def warm_up(self, model: str) -> None:
        """A first small request after a load, so that no client pays for lazy work."""


@dataclass(frozen=True)
class Limits:
    load_s: float = 600.0  # waking too
    unload_s: float = 60.0  # sleeping too
    warm_up_s: float = 30.0


@dataclass(frozen=True)
class Outcome:
    """`job` is what was done in the end: a sleep that failed becomes an unload.

    `is_gone`: after an error, the engine says that nothing is left of the model.
    """

    job: Job
    error: Exception | None = None
    is_gone: bool = False


async def perform(engines: Engines, job: Job, limits: Limits) -> Outcome:
    """Never raises but for its own cancellation."""
    try:
        await _carry_out(engines, job, limits)
    except Exception as error:  # noqa: BLE001  an engine may raise anything
        is_known = isinstance(error, RoundhouseError)
        _log.warning("%s: %s failed: %s", job.model, job.verb, error, exc_info=not is_known)
        return await _clear_up(engines, job, error, limits)
    return Outcome(job)


async def _carry_out(engines: Engines, job: Job, limits: Limits) -> None:
    if job.verb is Verb.LOAD:
        await _within(limits.load_s, engines.load(job.model), job)
        await _warm_up(engines, job.model, limits)
    elif job.verb is Verb.WAKE:
        await _within(limits.load_s, engines.wake(job.model), job)
    elif job.verb is Verb.SLEEP:
        await _within(limits.unload_s, engines.sleep(job.model, job.level), job)
    else:
        await _within(limits.unload_s, engines.unload(job.model), job)


async def _clear_up(engines: Engines, job: Job, error: Exception, limits: Limits) -> Outcome:
    if job.verb is Verb.UNLOAD:
        return Outcome(job, error)
    unload = Job(Verb.UNLOAD, job.model)
    try:
        await _within(limits.unload_s, engines.unload(job.model), unload)
    except Exception:  # noqa: BLE001  as above
        _log.exception("%s: what is left of it could not be unloaded", job.model)
        return Outcome(job, error)
    return Outcome(unload) if job.verb is Verb.SLEEP else Outcome(job, error, is_gone=True)


async def _warm_up(engines: Engines, model: str, limits: Limits) -> None:
    """A model that refuses this request may still answer others."""
    try:
        async with asyncio.timeout(limits.warm_up_s):
            await engines.warm_up(model)
    except Exception:  # noqa: BLE001  as above
        _log.warning("%s: warm-up failed", model, exc_info=True)


async def _within(limit_s: float, call: Awaitable[None], job: Job) -> None:
    try:
        async with asyncio.timeout(limit_s) as limit:
            await call
    except TimeoutError:
        if not limit.expired():
            raise
        raise EngineLoadError(f"{job.verb} took more than {limit_s:g} s") from None
