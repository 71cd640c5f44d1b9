"""A client's request for an ensemble, as it came."""

from __future__ import annotations

from dataclasses import dataclass

from common.keep_alive import KeepAlive
from gateway.exchange import Receive, Send
from gateway.upstream import RawHeaders


@dataclass(frozen=True, slots=True)
class Incoming:
    path: str
    route: str  # the path as a metric label
    headers: RawHeaders
    request_id: str
    arrived_at: float
    receive: Receive
    send: Send
    keep_alive: KeepAlive | None = None
