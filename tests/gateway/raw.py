"""An engine that sends exact bytes, whatever it is asked: what no sane server would do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class RawEngine:
    """Answers every request with the same parts, each in a packet of its own.

    It keeps a connection for `requests_each` requests; `seen` are the requests, byte for byte.
    """

    def __init__(self, parts: tuple[bytes, ...], requests_each: int) -> None:
        self.seen: list[bytes] = []
        self.connections: list[socket.socket] = []
        self._parts = parts
        self._requests_each = requests_each
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._listen)]

    def start(self) -> None:
        self._threads[0].start()

    def stop(self) -> None:
        for each in (self._listener, *self.connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                self._threads.append(threading.Thread(target=self._talk, args=(connection,)))
                self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(OSError):
            for _ in range(self._requests_each):
                request = self._request(connection)
                if not request:
                    return
                self.seen.append(request)
                for part in self._parts:
                    connection.sendall(part)

    def _request(self, connection: socket.socket) -> bytes:
        request = b""
        while (missing := _missing(request)) and (data := connection.recv(missing)):
            request += data
        return request


def _missing(request: bytes) -> int:
    """How many bytes may be read without reading into the next request."""
    head, end, body = request.lower().partition(b"\r\n\r\n")
    if not end:
        return 1
    length = re.search(rb"content-length: (\d+)", head)
    return int(length[1]) - len(body) if length else 0


@contextmanager
def raw_engine(*parts: bytes, requests_each: int = 1) -> Iterator[RawEngine]:
    engine = RawEngine(parts, requests_each)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
