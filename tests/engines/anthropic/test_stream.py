"""Anthropic's events as chat completion chunks, wherever the bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EngineOverloadedError
from engines.anthropic.stream import ChatStream
from engines.prices import Tokens


def event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def start() -> bytes:
    usage = {"input_tokens": 9, "output_tokens": 1}
    return event("message_start", message={"id": "msg_1", "model": "claude", "usage": usage})


def block(index: int, **content: Any) -> bytes:
    return event("content_block_start", index=index, content_block=content)


def piece(index: int, kind: str, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **delta})


def end(reason: str) -> bytes:
    told = event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 4})
    return told + event("message_stop")


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


TEXT = (
    start()
    + block(0, type="text", text="")
    + event("ping")
    + piece(0, "text_delta", text="안")
    + piece(0, "text_delta", text="녕")
    + stop(0)
    + end("max_tokens")
)
CALLS = (
    start()
    + block(0, type="thinking", thinking="")
    + piece(0, "thinking_delta", thinking="hm")
    + piece(0, "signature_delta", signature="s")
    + stop(0)
    + block(1, type="tool_use", id="t1", name="f", input={})
    + piece(1, "input_json_delta", partial_json="")
    + piece(1, "input_json_delta", partial_json='{"a"')
    + piece(1, "input_json_delta", partial_json=": 1}")
    + stop(1)
    + block(2, type="tool_use", id="t2", name="g", input={})
    + stop(2)
    + end("tool_use")
)


def chunks(out: bytes) -> list[dict[str, Any]]:
    assert out.endswith(b"data: [DONE]\n\n")
    lines = [line[6:] for line in out.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def run(data: bytes, *, include_usage: bool = False) -> tuple[ChatStream, bytes]:
    stream = ChatStream(17, include_usage=include_usage)
    return stream, stream.feed(data)


def test_text() -> None:
    stream, out = run(TEXT)
    first, *middle, last = chunks(out)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (first["id"], first["model"], first["created"]) == ("msg_1", "claude", 17)
    assert [chunk["choices"][0]["delta"] for chunk in middle] == [
        {"content": "안"},
        {"content": "녕"},
    ]
    assert last["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "length"}
    assert all("usage" not in chunk for chunk in chunks(out))
    assert b": ping\n\n" in out
    assert (stream.complete, stream.tokens) == (True, Tokens(9, 4))


def test_usage_where_it_was_asked_for() -> None:
    last = chunks(run(TEXT, include_usage=True)[1])[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 13


def test_calls() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(run(CALLS)[1])]
    assert {"reasoning_content": "hm"} in deltas
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert [(call["index"], call.get("id")) for call in calls] == [
        (0, "t1"),
        (0, None),
        (0, None),
        (1, "t2"),
        (1, None),
    ]
    arguments = ["", ""]
    for call in calls:
        arguments[call["index"]] += call["function"]["arguments"]
    assert list(map(json.loads, arguments)) == [{"a": 1}, {}]


@given(st.sampled_from([TEXT, CALLS]), st.lists(st.integers(0, 3000), max_size=8))
def test_where_the_bytes_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    stream, places = ChatStream(17, include_usage=True), [0, *sorted(cuts), 4000]
    out = b"".join(stream.feed(data[a:b]) for a, b in pairwise(places))
    assert out == run(data, include_usage=True)[1]


def test_it_has_begun_once_something_is_said() -> None:
    stream = ChatStream(17, include_usage=False)
    stream.feed(start() + event("ping"))
    assert not stream.begun
    stream.feed(block(0, type="text", text=""))
    assert stream.begun
    assert not stream.complete


def test_an_error_event_is_a_failure() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    with pytest.raises(EngineOverloadedError, match="overloaded_error: Overloaded"):
        run(start() + error)


def test_events_of_tomorrow_are_passed_over() -> None:
    later = event("content_block_delta", index=0, delta={"type": "dance_delta"})
    assert run(later + event("curtain"))[1] == b""
