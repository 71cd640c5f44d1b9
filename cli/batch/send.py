"""Sends one request until there is an answer, a refusal, or no time left."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from cli.batch.outcome import Outcome, encoded
from cli.batch.request import Request
from cli.batch.retry import backoff_s, pause_s
from cli.batch.server import Server
from common.errors import NotAnsweringError
from router.refusals import retry_after_s

_CONNECT_TIMEOUT_S = 10.0
_TOLD_CHARACTERS = 2000  # of an error that is no JSON
# Nobody listens: the request has not arrived anywhere.
_ABSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


@dataclass(frozen=True)
class Attempt:
    outcome: Outcome
    asked_s: float | None = None
    is_refused: bool = False


class Sender:
    """`timeout_s` bounds a request with its retries, and how long the server may be away."""

    def __init__(
        self, server: Server, concurrency: int, timeout_s: float, tell: Callable[[str], None]
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._tell = tell
        self._away_since_s: float | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=concurrency),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def check(self) -> None:
        """That somebody is there who takes our key. Raises NotAnsweringError."""
        url = f"{self._server.url}/v1/models"
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                async with self._session.get(url, headers=_headers(self._server.key)) as answer:
                    status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotAnsweringError(
                f"{self._server.url} does not answer: {error or type(error).__name__}; "
                "start a Roundhouse with `roundhouse serve`, or name another with --url"
            ) from None
        if status == 401:
            raise self._unauthorized()

    async def ask(self, request: Request) -> Outcome:
        """Raises NotAnsweringError when going on is of no use for any request."""
        retries, give_up_at_s = 0, time.monotonic() + self._timeout_s
        while True:
            try:
                attempt = await self._attempt(request, give_up_at_s - time.monotonic())
            except _ABSENT as error:
                await self._wait_for_server(error)
                give_up_at_s = time.monotonic() + self._timeout_s
                continue
            pause = _pause_s(attempt, retries)
            if pause is None or time.monotonic() + pause >= give_up_at_s:
                return attempt.outcome
            await asyncio.sleep(pause)
            retries += 1

    async def _attempt(self, request: Request, left_s: float) -> Attempt:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                return await self._post(request, began_s)
        except _ABSENT:
            raise
        except TimeoutError:
            why = f"no answer within {self._timeout_s:g} s (--timeout)"
            failed = _failed(request, began_s, "deadline_exceeded", why)
            return Attempt(failed, is_refused=True)
        except (aiohttp.ClientError, OSError) as error:
            why = f"the connection broke: {error or type(error).__name__}"
            return Attempt(_failed(request, began_s, "connection_broken", why))

    async def _post(self, request: Request, began_s: float) -> Attempt:
        key = self._server.key
        url = self._server.url + request.url
        async with self._session.post(
            url, data=encoded(request.body), headers=_headers(key), allow_redirects=False
        ) as answer:
            raw = await answer.read()
        self._away_since_s = None
        if answer.status == 401:
            if not self._server.has_other_key_than(key):
                raise self._unauthorized()
            return await self._post(request, began_s)
        asked_s = retry_after_s(answer.headers.get("retry-after", "").encode())
        is_refused = answer.headers.get("x-should-retry") == "false"
        outcome = _outcome(request, time.monotonic() - began_s, answer, raw)
        return Attempt(outcome, asked_s, is_refused)

    async def _wait_for_server(self, error: Exception) -> None:
        now_s = time.monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
            self._tell(f"{self._server.url} does not answer; waiting for it")
        if now_s - self._away_since_s > self._timeout_s:
            raise NotAnsweringError(
                f"{self._server.url} has not answered for {self._timeout_s:g} s (--timeout): "
                f"{error}; run the same command again when it is up"
            )
        await asyncio.sleep(backoff_s(1, _roll()))

    def _unauthorized(self) -> NotAnsweringError:
        return NotAnsweringError(
            f"{self._server.url} answers HTTP 401: set ROUNDHOUSE_API_KEY to a key that it takes"
        )


def _pause_s(attempt: Attempt, retries: int) -> float | None:
    return pause_s(
        attempt.outcome.status,
        retries,
        _roll(),
        asked_s=attempt.asked_s,
        is_refused=attempt.is_refused,
    )


def _roll() -> float:
    return random.random()  # noqa: S311  # spreads retries, guards nothing


def _headers(key: str) -> dict[str, str]:
    return {"content-type": "application/json"} | (
        {"authorization": f"Bearer {key}"} if key else {}
    )


def _outcome(
    request: Request, latency_s: float, answer: aiohttp.ClientResponse, raw: bytes
) -> Outcome:
    body, error = _body(answer.status, raw)
    request_id = answer.headers.get("x-request-id", "")
    return Outcome(request, latency_s, answer.status, request_id, body, error)


def _body(status: int, raw: bytes) -> tuple[Any, dict[str, str] | None]:
    """The body, and what is wrong with it. An error without JSON gets OpenAI's shape."""
    try:
        return json.loads(raw), None
    except ValueError:
        text = raw[:_TOLD_CHARACTERS].decode(errors="replace")
        if status < 300:
            return text, {"code": "invalid_answer", "message": "the answer is not JSON"}
        return {"error": {"message": text or f"HTTP {status}"}}, None


def _failed(request: Request, began_s: float, code: str, message: str) -> Outcome:
    error = {"code": code, "message": message}
    return Outcome(request, time.monotonic() - began_s, error=error)
