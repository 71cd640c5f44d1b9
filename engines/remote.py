"""Endpoints that somebody else runs: a URL, and a look now and then whether it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from engines.base import EngineStatus, State
from engines.endpoint import Remote

__all__ = ["Remote", "Report", "watch_remote"]

_PERIOD_S = 1.0
_KEYED_PERIOD_S = 30.0  # a provider counts what is asked with a key
_TIMEOUT_S = 5.0
_REFUSED = frozenset({401, 403})
Report = Callable[[str, EngineStatus | None], None]


@dataclass(frozen=True)
class _Looked:
    """`error` where it does not answer; `note` where it does, but not as it should."""

    error: str = ""
    note: str = ""


async def watch_remote(remote: Remote, session: aiohttp.ClientSession, report: Report) -> None:
    """Reports the endpoint as ready while it answers `GET /v1/models`, for ever."""
    started_at = time.time()
    while True:
        looked = await _look(remote, session) if remote.endpoint.watched else _Looked()
        state = State.STARTING if looked.error else State.READY
        phase = f"no answer from {remote.url}: {looked.error}" if looked.error else looked.note
        status = EngineStatus(state, phase=phase, url=remote.url, started_at=started_at)
        report(remote.id, status)
        is_costly = remote.endpoint.key and not looked.error
        await asyncio.sleep(_KEYED_PERIOD_S if is_costly else _PERIOD_S)


async def _look(remote: Remote, session: aiohttp.ClientSession) -> _Looked:
    endpoint = remote.endpoint
    url = remote.url + endpoint.path("/v1/models")
    headers = {k.decode(): v.decode() for k, v in endpoint.own_headers()}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with session.get(
            url, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            if answer.status in _REFUSED and endpoint.key:
                return _Looked(note=f"refuses our key of {endpoint.key_place}")
            return _Looked(f"HTTP {answer.status}" if answer.status >= 500 else "")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _Looked(type(error).__name__)
