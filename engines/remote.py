"""Endpoints that somebody else runs: a URL, and a look now and then whether it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from engines.base import EngineStatus, State

_PERIOD_S = 1.0
_TIMEOUT_S = 5.0
Report = Callable[[str, EngineStatus | None], None]


@dataclass(frozen=True)
class Remote:
    """One endpoint. `url` is without the `/v1` that OpenAI's base URLs end in."""

    id: str
    model: str
    url: str


async def watch_remote(remote: Remote, session: aiohttp.ClientSession, report: Report) -> None:
    """Reports the endpoint as ready while it answers `GET /v1/models`, for ever."""
    started_at = time.time()
    while True:
        error = await _trouble(remote, session)
        state = State.STARTING if error else State.READY
        phase = f"no answer from {remote.url}: {error}" if error else ""
        status = EngineStatus(state, phase=phase, url=remote.url, started_at=started_at)
        report(remote.id, status)
        await asyncio.sleep(_PERIOD_S)


async def _trouble(remote: Remote, session: aiohttp.ClientSession) -> str | None:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with session.get(f"{remote.url}/v1/models", timeout=timeout) as answer:
            return None if answer.status < 500 else f"HTTP {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
