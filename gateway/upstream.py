"""HTTP/1.1 to the engines: as little as forwarding needs, over llhttp's parser.

A general client spends more on one request (URL, cookies, redirects, traces) than the rest of the
hot path does; benchmarks/overhead.py holds the comparison.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httptools

from common.errors import EngineConnectError, EngineDisconnectError

RawHeaders = list[tuple[bytes, bytes]]

_CONNECT_TIMEOUT_S = 5.0
_HIGH_WATER_BYTES = 1 << 20  # a slow client stops the engine's stream here


@dataclass(frozen=True)
class Origin:
    """Where an engine listens."""

    host: str
    port: int
    tls: bool
    prefix: str  # path of the base URL, without a slash at its end

    @classmethod
    def of(cls, url: str) -> Origin:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname or "", port, tls, parts.path.rstrip("/"))

    @property
    def host_header(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode()


class Connection(asyncio.Protocol):
    """One connection, one request at a time: `send`, `head`, then `read` until it gives b""."""

    def __init__(self) -> None:
        self.reused = False
        self.status = 0
        self.headers: RawHeaders = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._paused = False
        self._has_head = False
        self._complete = True  # nothing was asked yet
        self._stray = False  # more than what was asked for has come
        self._until_close = False
        self._keep_alive = False
        self._lost: str | None = None

    # What the request's task calls.

    def send(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        self._has_head = self._complete = self._keep_alive = self._until_close = False
        self.headers = []
        self._transport.write(head + body if len(body) < 65536 else head)
        if len(body) >= 65536:
            self._transport.write(body)

    async def head(self) -> None:
        """Until status and headers are known. Raises EngineDisconnectError."""
        while not self._has_head:
            if self._lost is not None:
                raise EngineDisconnectError(self._lost)
            await self._wait()

    async def read(self) -> bytes:
        """What has arrived since the last call; b"" at the end. Raises EngineDisconnectError."""
        while not self._chunks:
            if self._complete:
                return b""
            if self._lost is not None:
                raise EngineDisconnectError(self._lost)
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._buffered_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read():
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def reusable(self) -> bool:
        """The last answer is over and has been read whole, so nothing of it is left for others."""
        done = self._complete and not self._chunks and not self._stray
        return done and self._keep_alive and self.open

    @property
    def open(self) -> bool:
        return (
            self._lost is None and self._transport is not None and not self._transport.is_closing()
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._lost = f"what came is not HTTP: {error}"
            self.close()
        if self._buffered_bytes > _HIGH_WATER_BYTES and not self._paused:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._has_head and self._until_close and error is None:
            self._complete = True
        self._lost = self._lost or (str(error) if error else "the connection was closed")
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._stray = True
        else:
            self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._stray:
            return
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200
        self._keep_alive = self._parser.should_keep_alive()
        names = {name for name, _ in self.headers}
        self._until_close = not names & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        if not self._stray:
            self._chunks.append(body)
            self._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        self._complete = self._has_head


class Pool:
    """Kept-alive connections by origin. Belongs to one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = defaultdict(deque)

    async def take(self, origin: Origin) -> Connection:
        """An idle connection or a new one. Raises EngineConnectError when nobody listens."""
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.reusable:
                connection.reused = True
                return connection
            connection.close()
        return await self._connect(origin)

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Kept for the next request if its answer was read to the end; else closed."""
        if connection.reusable:
            self._idle[origin].append(connection)
        else:
            if connection.reused and not connection.open:
                self.forget(origin)  # its siblings are likely to be as stale
            connection.close()

    def forget(self, origin: Origin) -> None:
        for connection in self._idle.pop(origin, ()):
            connection.close()

    def close(self) -> None:
        for origin in list(self._idle):
            self.forget(origin)

    async def _connect(self, origin: Origin) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, origin.host, origin.port, ssl=_tls() if origin.tls else None
                )
        except TimeoutError:
            raise EngineConnectError(f"no connection within {_CONNECT_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise EngineConnectError(error.strerror or str(error)) from None
        return connection


@cache
def _tls() -> ssl.SSLContext:
    """Made when it is needed first: it takes longer than the rest of a start."""
    return ssl.create_default_context()
