"""Events out of a byte stream."""

from __future__ import annotations

import pytest

from engines.sse import EventSplitter, data_of


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_events_are_whole(end: bytes) -> None:
    events = EventSplitter()
    assert events.feed(b"data: 1" + end + b"da") == [b"data: 1" + end]
    assert events.rest == b"da"
    assert events.feed(b"ta: 2" + end[:1]) == []
    assert events.feed(end[1:]) == [b"data: 2" + end]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"event: x\ndata: 1\n\n", b"1"),
        (b"data:1\n\n", b"1"),
        (b"data: 1\r\ndata: 2\r\n\r\n", b"1\n2"),
        (b": a comment\n\n", b""),
    ],
)
def test_payloads(event: bytes, data: bytes) -> None:
    assert data_of(event) == data
