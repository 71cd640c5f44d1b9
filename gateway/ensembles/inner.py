"""One call of one member, on the way that every request takes: lane, lease, retries, breaker,
metrics. Its client is this process, which reads the answer as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import msgspec

from common.errors import (
    BadRequestError,
    BodyTooLargeError,
    EngineError,
    EngineOverloadedError,
    RoundhouseError,
)
from common.keep_alive import KeepAlive
from gateway.choosing import session_of
from gateway.ensembles.hearing import Hearing
from gateway.exchange import Exchange, is_event_stream
from gateway.forward import Forwarder
from gateway.upstream import RawHeaders
from router.call import NO_CALL, call_of
from router.dispatch import Route
from router.refusals import message_in

CHAT = "/v1/chat/completions"
# Takes pieces of an answer to the client, when it may have them as they come.
Say = Callable[[list[dict[str, Any]]], Awaitable[None]]
_JSON = (b"content-type", b"application/json")
_FORWARDED = frozenset((b"traceparent", b"tracestate", b"user-agent"))
_TOO_BUSY = frozenset({429, 503, 529})
_KEY_REFUSED = frozenset({401, 402, 403})
_NOT_THERE = frozenset({404, 408})


class Inner:
    """What all calls of one request have in common."""

    def __init__(
        self,
        forwarder: Forwarder,
        request_id: str,
        headers: RawHeaders,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        self._forwarder = forwarder
        self._request_id = request_id
        self._session = session_of(dict(headers)) or request_id
        self._headers = [_JSON, *(pair for pair in headers if pair[0] in _FORWARDED)]
        self._keep_alive = keep_alive
        self._calls = 0

    async def call(
        self, route: Route, body: dict[str, Any], hearing: Hearing, say: Say | None = None
    ) -> Exchange:
        """Hears the whole answer. Raises RoundhouseError; cancelled, it hangs up."""
        client = _Client(hearing, say)
        exchange = self._exchange(route, msgspec.json.encode(body), client)
        with suppress(_EnoughError):
            await self._forwarder.run(exchange, route.lane)
        if client.error is not None:
            raise client.error
        if not client.ended:
            raise EngineError(f"model {route.lane.model!r}: its answer has no end")
        return exchange

    def _exchange(self, route: Route, body: bytes, client: _Client) -> Exchange:
        task = asyncio.current_task()
        assert task is not None
        self._calls += 1
        lane = route.lane
        request_id = f"{self._request_id}-{self._calls}"
        # Samples of one question belong to one replica, which has its prompt cached then.
        call = NO_CALL if len(lane.replicas) == 1 else call_of(body, CHAT, self._session)
        return Exchange(
            path=CHAT,
            raw_path=CHAT.encode(),
            route=CHAT,
            query=b"",
            method="POST",
            headers=self._headers,
            body=body,
            request_id=request_id,
            reason=route.reason,
            arrived_at=time.perf_counter(),
            receive=client.receive,
            send=client.send,
            task=task,
            call=call,
            streamed=True,
            keep_alive=self._keep_alive,
        )


class _Client:
    """The near end of an exchange, in memory."""

    def __init__(self, hearing: Hearing, say: Say | None) -> None:
        self.error: RoundhouseError | None = None
        self.ended = False
        self._hearing = hearing
        self._say = say
        self._status = 0
        self._streams = False
        self._parts: list[bytes] = []

    async def receive(self) -> MutableMapping[str, Any]:
        """It never hangs up: whoever gives a call up cancels it."""
        nothing: asyncio.Future[MutableMapping[str, Any]]
        nothing = asyncio.get_running_loop().create_future()
        return await nothing

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._streams = is_event_stream(message["headers"])
            return
        self.ended = not message.get("more_body", False)
        if self.error is not None:
            return
        if self._streams:
            self._read(self._hearing.feed, message["body"])
        else:
            self._parts.append(message["body"])
            if self.ended:
                self._end(b"".join(self._parts))
        if self._say and self._hearing.pieces:
            pieces, self._hearing.pieces = self._hearing.pieces, []
            await self._say(pieces)

    def _end(self, body: bytes) -> None:
        if self._status >= 400:
            self.error = _refusal(self._status, body)
        else:
            self._read(self._hearing.whole, body)

    def _read(self, read: Callable[[bytes], None], data: bytes) -> None:
        """What is raised here ends the exchange, so that the engine stops."""
        try:
            read(data)
        except RoundhouseError as error:
            self.error = error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            self.error = EngineError("its answer makes no sense")
        if self.error is not None:
            raise _EnoughError("") if self._hearing.overran else self.error


class _EnoughError(RoundhouseError):
    """Ends an exchange that nothing is wrong with, so that no breaker counts it."""


def _refusal(status: int, body: bytes) -> RoundhouseError:
    """An engine's own error answer that was passed on."""
    words = message_in(body)
    if status in _TOO_BUSY:
        return EngineOverloadedError(words)
    if status == 413:
        return BodyTooLargeError(words)
    if status >= 500 or status in _KEY_REFUSED or status in _NOT_THERE:
        return EngineError(words)
    return BadRequestError(words)
