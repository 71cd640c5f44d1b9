"""One request and its answer, and which of their headers pass from one side to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from math import inf
from typing import Any

from common.keep_alive import KeepAlive
from gateway.upstream import Origin, RawHeaders
from router.call import NO_CALL, Call
from router.replicas import Replica
from router.transcript import Transcript

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NOBODY = Replica("", "", 0)
_EVENT_STREAM = b"text/event-stream"
# Headers that belong to one connection, that name the caller, or that are set anew.
_NOT_FORWARDED = frozenset(
    b"host authorization x-api-key content-length connection keep-alive transfer-encoding te "
    b"trailer upgrade proxy-authorization proxy-connection accept-encoding expect x-request-id "
    b"cookie".split()
)
_NOT_RETURNED = frozenset(
    b"connection keep-alive transfer-encoding content-length date server x-request-id".split()
)


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer, while it lasts."""

    path: str
    raw_path: bytes  # as it came, percent signs and all
    route: str  # the path as a metric label: bounded in number
    query: bytes
    method: str
    headers: RawHeaders
    body: bytes
    request_id: str
    reason: str
    arrived_at: float
    receive: Receive
    send: Send
    task: asyncio.Task[Any]
    task_name: str = ""  # known where the model was chosen by it
    model: str = ""  # whose replica was asked last
    call: Call = NO_CALL
    streamed: bool = False  # the client asked for a stream
    keep_alive: KeepAlive | None = None  # of the model, as the request wishes
    deadline_at: float = inf
    watch: asyncio.Task[None] | None = None
    departed_at: float = 0.0  # the first replica of the last attempt was asked then
    asked_at: float = 0.0  # `replica` was asked then
    replica: Replica = _NOBODY
    first_byte_at: float = 0.0
    heard_at: float = 0.0
    attempts: int = 0
    status: int = 0
    begun: bool = False
    transcript: Transcript | None = None  # kept where another replica could go on
    expired: bool = False  # the engine was silent for too long
    overdue: bool = False  # the deadline has passed
    hung_up: bool = False
    cost_usd: float | None = None  # known of remote models that have a price

    @property
    def given_up(self) -> bool:
        """Nobody waits any more: the client hung up, or who asked for it has cancelled it too."""
        return self.hung_up or self.task.cancelling() > 1


def request_head(
    exchange: Exchange, origin: Origin, token: str, n_bytes: int, *, keep_alive: bool = True
) -> bytes:
    """Request line and headers of a body of `n_bytes`. What came was parsed, so no value holds a
    line break."""
    target = origin.prefix.encode() + exchange.raw_path
    if exchange.query:
        target += b"?" + exchange.query
    lines = [b"%s %s HTTP/1.1" % (exchange.method.encode(), target), b"host: " + origin.host_header]
    lines += [b"%s: %s" % pair for pair in exchange.headers if pair[0] not in _NOT_FORWARDED]
    lines.append(b"x-request-id: " + exchange.request_id.encode("latin-1"))
    if token:
        lines.append(b"authorization: Bearer " + token.encode())
    if not keep_alive:
        lines.append(b"connection: close")
    lines.append(b"content-length: %d\r\n\r\n" % n_bytes)
    return b"\r\n".join(lines)


def returned(headers: RawHeaders) -> RawHeaders:
    return [pair for pair in headers if pair[0] not in _NOT_RETURNED]


def is_event_stream(headers: RawHeaders) -> bool:
    return any(name == b"content-type" and value[:17] == _EVENT_STREAM for name, value in headers)
