"""The line to the client of an ensemble: heartbeats while it waits, then the answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from common.errors import RoundhouseError
from gateway.events import error_event
from gateway.exchange import Send
from gateway.upstream import RawHeaders

_FIRST_BEAT_S = 1.0  # a failure before it still has a status of its own
_BEAT_S = 10.0  # proxies in between give up after a minute or so of silence


class Line:
    """Writes what `headers` announce. Whoever streams runs `beat` beside."""

    def __init__(self, send: Send, path: str, headers: RawHeaders) -> None:
        self.begun_at = 0.0
        self.headers = headers
        self._send = send
        self._path = path
        self._told = b""
        self._news = asyncio.Event()
        self._lock = asyncio.Lock()
        self._speaking = False

    @property
    def begun(self) -> bool:
        return self.begun_at > 0

    async def whole(self, body: dict[str, Any]) -> None:
        text = msgspec.json.encode(body)
        await self._start([(b"content-type", b"application/json"), _length(text)])
        await self._write(text, more=False)

    async def put(self, events: bytes) -> None:
        """From the first part of the answer on there are no heartbeats."""
        self._speaking = True
        await self._put(events)

    async def end(self, events: bytes) -> None:
        await self.put(events)
        await self._write(b"", more=False)

    async def break_off(self, error: RoundhouseError) -> None:
        """An answer that has begun cannot be taken back."""
        await self.end(error_event(error, self._path))

    def progress(self, phase: str, voices: int, planned: int) -> None:
        self._told = f": {phase} {voices}/{planned}\n\n".encode()
        if voices:
            self._news.set()

    async def beat(self) -> None:
        """Comments, which clients skip; ends with the first part of the answer."""
        wait_s = _FIRST_BEAT_S
        while not self._speaking:
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            wait_s = _BEAT_S
            if not self._speaking:
                await self._put(self._told or b": waiting\n\n")

    def hush(self) -> None:
        """No more heartbeats."""
        self._speaking = True
        self._news.set()

    async def _put(self, events: bytes) -> None:
        async with self._lock:
            if not self.begun:
                await self._start(
                    [
                        (b"content-type", b"text/event-stream; charset=utf-8"),
                        (b"cache-control", b"no-cache"),
                    ]
                )
            await self._write(events, more=True)

    async def _start(self, headers: RawHeaders) -> None:
        self.begun_at = time.perf_counter()
        start = {"type": "http.response.start", "status": 200, "headers": headers + self.headers}
        await self._send(start)

    async def _write(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _length(text: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(text)).encode()
