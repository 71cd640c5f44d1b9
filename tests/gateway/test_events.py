"""Where events end, and which of them speak of a dead engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EngineDisconnectError
from gateway.events import EVENT_ENDS, error_event, failure_in, whole_events


@pytest.mark.parametrize(
    ("data", "whole", "held"),
    [
        (b"data: 1\n\n", b"data: 1\n\n", b""),
        (b"data: 1\n\ndata: 2", b"data: 1\n\n", b"data: 2"),
        (b"data: 1\n\ndata: 2\n", b"data: 1\n\n", b"data: 2\n"),
        (b"data: 1\r\n\r\ndata: 2\r\n\r", b"data: 1\r\n\r\n", b"data: 2\r\n\r"),
        (b"data: 1", b"", b"data: 1"),
        (b"", b"", b""),
    ],
)
def test_whole_events_go_and_half_ones_are_held(data: bytes, whole: bytes, held: bytes) -> None:
    assert whole_events(data) == (whole, held)


def test_an_event_without_end_is_not_held_for_ever() -> None:
    data = b"data: " + b"x" * 70_000
    assert whole_events(data) == (data, b"")


@given(st.lists(st.sampled_from([b"data: x", b"\n", b"\r\n", b"event: e", b":"])), st.data())
def test_no_byte_is_lost_or_moved(parts: list[bytes], data: st.DataObject) -> None:
    stream, sent, held, rest = b"".join(parts), b"", b"", b"".join(parts)
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        whole, held = whole_events(held + rest[:cut])
        assert not whole or whole.endswith(EVENT_ENDS)
        sent, rest = sent + whole, rest[cut:]
        assert sent + held + rest == stream
    assert not held.endswith(EVENT_ENDS)


def vllm(code: Any, kind: str = "InternalServerError") -> bytes:
    error = {"message": "it broke", "type": kind, "param": None, "code": code}
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\ndata: [DONE]\n\n"


def messages(kind: str) -> bytes:
    event = {"type": "error", "error": {"type": kind, "message": "it broke"}}
    return b"event: error\ndata: " + json.dumps(event).encode() + b"\n\n"


@pytest.mark.parametrize(
    "first",
    [
        vllm(500),
        vllm(503),
        vllm(None),
        vllm("server_error", "server_error"),
        messages("internal_error"),
        messages("overloaded_error"),
    ],
)
def test_failures(first: bytes) -> None:
    assert failure_in(first) == "it broke"


@pytest.mark.parametrize(
    "first",
    [
        vllm(400),
        vllm(404),
        vllm("context_length_exceeded", "invalid_request_error"),
        messages("invalid_request_error"),
        b'data: {"error": null}\n\n',
        b'data: {"error": "words"}\n\n',
        b'data: {"error"',
        b"event: error\ndata: no json\n\n",
        b"event: error\n\n",
        b'data: {"choices":[{"delta":{"content":"{\\"error\\": 1}"}}]}\n\n',
        b"data: [DONE]\n\n",
    ],
)
def test_answers(first: bytes) -> None:
    assert failure_in(first) is None


def test_the_end_of_a_broken_stream_is_in_its_own_form() -> None:
    failure = EngineDisconnectError("gone")
    told = {
        "message": "gone",
        "type": "engine_error",
        "param": None,
        "code": "engine_disconnected",
        "src": "engine",
    }
    chat = error_event(failure, "/v1/chat/completions").split(b"\n\n")
    assert [json.loads(chat[0][6:]), *chat[1:]] == [{"error": told}, b"data: [DONE]", b""]
    name, data = error_event(failure, "/v1/messages").split(b"\n", 1)
    assert name == b"event: error"
    assert json.loads(data[6:]) == {"type": "error", "error": told}
