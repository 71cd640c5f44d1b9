"""What of a request mlx_lm.server can honour."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engines.mlx_request import CHAT, TEXT, Refused, prepared

MESSAGES = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> Any:
    return json.loads(prepared(CHAT, json.dumps({"messages": MESSAGES, **fields}).encode()))


def text(**fields: Any) -> Any:
    return json.loads(prepared(TEXT, json.dumps({"prompt": "Hi", **fields}).encode()))


def test_what_is_known_passes_untouched() -> None:
    asked = {"messages": MESSAGES, "model": "m", "stop": ["."], "stream": True, "top_k": 3}
    assert chat(**asked) == asked


def test_a_null_is_left_out() -> None:
    """SDKs send them for what is not set, and mlx_lm.server refuses them."""
    assert "max_tokens" not in chat(max_tokens=None)


def test_stream_options_always_say_whether_usage_is_wanted() -> None:
    assert chat(stream_options={})["stream_options"] == {"include_usage": False}
    assert chat(stream_options={"include_usage": True})["stream_options"]["include_usage"] is True


def test_tools_are_left_out_where_none_may_be_called() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert chat(tools=tools, tool_choice="auto") == {"messages": MESSAGES, "tools": tools}
    assert "tools" not in chat(tools=tools, tool_choice="none")


def test_the_completions_form_is_translated() -> None:
    assert text(prompt=["Hi"])["prompt"] == "Hi"
    told = text(logprobs=2)
    assert (told["logprobs"], told["top_logprobs"]) == (True, 2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 2}, "n: must be 1"),
        ({"adapters": "/x"}, "adapters: is no field"),
        ({"draft_model": "owner/name"}, "draft_model: is no field"),
        ({"response_format": {"type": "json_schema"}}, "response_format: must be text"),
        ({"response_format": "text"}, "response_format: must be text"),
        ({"tool_choice": {"type": "function"}}, "tool_choice: must be auto or none"),
        ({"messages": []}, "messages: holds no message"),
        ({"messages": "Hi"}, "messages: must be a list"),
        ({"messages": ["Hi"]}, "messages: must be a list"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "text only"),
    ],
)
def test_what_would_be_ignored_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as caught:
        chat(**fields)
    assert caught.value.status == 400
    assert said in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [{"prompt": [1, 2]}, {"prompt": ["a", "b"]}, {"echo": True}, {"suffix": "."}, {"best_of": 2}],
)
def test_completions_take_one_text(fields: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        text(**fields)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_what_is_no_object_is_refused_in_openais_shape(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        prepared(CHAT, body)
    error = json.loads(caught.value.body())["error"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}
