"""Server-sent events out of a byte stream, wherever its pieces are cut."""

from __future__ import annotations

import re

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventSplitter:
    def __init__(self) -> None:
        self._held = b""

    @property
    def rest(self) -> bytes:
        """The beginning of an event that has not ended."""
        return self._held

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are whole by now, as they came, with their ends."""
        data = self._held + data
        events, start = [], 0
        for found in _END.finditer(data):
            events.append(data[start : found.end()])
            start = found.end()
        self._held = data[start:]
        return events


def data_of(event: bytes) -> bytes:
    """The payload of one event; b"" of a comment."""
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)
