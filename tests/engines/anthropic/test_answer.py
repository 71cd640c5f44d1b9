"""Anthropic's whole answers and errors in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import EngineError, EngineOverloadedError
from engines.anthropic.answer import failure_in, to_completion, to_error, tokens_of
from engines.prices import Tokens


def message(*content: dict[str, Any], stop_reason: str = "end_turn") -> dict[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}
    return {
        "id": "msg_1",
        "model": "claude",
        "content": [*content],
        "stop_reason": stop_reason,
        "usage": usage,
    }


def test_text_and_usage() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    answer = to_completion(message(*parts), 17)
    assert (answer["id"], answer["model"], answer["created"]) == ("msg_1", "claude", 17)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "ab"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 2,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def test_calls_and_thoughts() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"city": "서울"}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]
    said = to_completion(message(*blocks, stop_reason="tool_use"), 0)["choices"][0]
    assert said["finish_reason"] == "tool_calls"
    assert said["message"]["content"] is None
    assert said["message"]["reasoning_content"] == "hm"
    called = [call["function"] for call in said["message"]["tool_calls"]]
    assert called == [
        {"name": "f", "arguments": '{"city": "서울"}'},
        {"name": "g", "arguments": "{}"},
    ]


def test_an_empty_answer_is_an_empty_text() -> None:
    assert to_completion(message(), 0)["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something new", "stop"),
    ],
)
def test_why_it_stopped(reason: str, finish: str) -> None:
    assert to_completion(message(stop_reason=reason), 0)["choices"][0]["finish_reason"] == finish


def test_tokens_count_the_cache_in() -> None:
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 10,
        "cache_read_input_tokens": 100,
        "output_tokens": 7,
    }
    assert tokens_of(usage) == Tokens(111, 7, 100, 10)
    assert tokens_of({"input_tokens": 1, "cache_read_input_tokens": None}) == Tokens(1, 0)


def test_errors() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'
    error = to_error(body)["error"]
    assert (error["type"], error["code"], error["message"]) == (*["rate_limit_error"] * 2, "slow")
    assert error["src"] == "engine"
    assert to_error(b"<html>no")["error"]["message"] == "<html>no"
    assert to_error(b"[]")["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("overloaded_error", EngineOverloadedError),
        ("rate_limit_error", EngineOverloadedError),
        ("api_error", EngineError),
    ],
)
def test_error_events(kind: str, failure: type[EngineError]) -> None:
    error = {"type": kind, "message": "why"}
    event = json.dumps({"type": "error", "error": error}).encode()
    found = failure_in(event)
    assert type(found) is failure
    assert str(found) == f"the provider broke off: {kind}: why"
