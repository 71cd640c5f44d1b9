from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.classify.conversation import EDGE_CHARS, Conversation, Turn, clip, of_text, read

CHAT = "/v1/chat/completions"
PIXEL = "data:image/png;base64,AAAA"


def conversation(path: str, **fields: Any) -> Conversation:
    found = read(path, json.dumps(fields).encode())
    assert found is not None
    return found


def test_the_last_user_message_of_a_chat_and_what_stood_before_it() -> None:
    found = conversation(
        CHAT,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Write a sort in Rust"},
            {"role": "assistant", "content": "fn sort() {}"},
            {"role": "user", "content": "commit it"},
        ],
        max_tokens=64,
    )
    assert found.text == "commit it"
    assert found.before == (
        Turn("system", "Be brief."),
        Turn("user", "Write a sort in Rust"),
        Turn("assistant", "fn sort() {}"),
    )
    assert found.max_tokens == 64
    assert found.n_chars == len("Be brief.Write a sort in Rustfn sort() {}commit it")


def test_parts_of_a_chat_message_give_text_images_and_files() -> None:
    parts = [
        {"type": "text", "text": "이 사진"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "file", "file": {"file_id": "f1"}},
        {"type": "text", "text": "설명해줘"},
    ]
    found = conversation(CHAT, messages=[{"role": "user", "content": parts}])
    assert found.text == "이 사진\n설명해줘"
    assert found.has_images
    assert found.has_files


def test_tools_and_json_are_told() -> None:
    found = conversation(
        CHAT,
        messages=[{"role": "user", "content": "weather?"}],
        tools=[{"type": "function", "function": {"name": "get_weather"}}],
        response_format={"type": "json_schema", "json_schema": {}},
    )
    assert found.has_tools
    assert found.tools == ("get_weather",)
    assert found.wants_json


@pytest.mark.parametrize("prompt", ["Once upon a time", ["Once upon a time"]])
def test_completions(prompt: Any) -> None:
    assert conversation("/v1/completions", prompt=prompt).text == "Once upon a time"


def test_completions_of_token_ids_have_no_text() -> None:
    assert read("/v1/completions", b'{"prompt": [1, 2, 3]}') is None


def test_responses_with_instructions_input_items_and_a_text_format() -> None:
    found = conversation(
        "/v1/responses",
        instructions="You translate.",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]},
        ],
        text={"format": {"type": "json_object"}},
        max_output_tokens=5,
    )
    assert found.text == "hello"
    assert found.before == (Turn("system", "You translate."),)
    assert found.has_images
    assert found.wants_json
    assert found.max_tokens == 5


def test_responses_with_plain_input() -> None:
    assert conversation("/v1/responses", input="2+2?").text == "2+2?"


def test_an_anthropic_tool_result_is_not_what_the_user_said() -> None:
    found = conversation(
        "/v1/messages",
        system=[{"type": "text", "text": "You are a shell."}],
        messages=[
            {"role": "user", "content": "fix the failing test"},
            {"role": "assistant", "content": [{"type": "tool_use", "name": "Bash", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "content": [{"type": "text", "text": "ok"}]}],
            },
        ],
        tools=[{"name": "Bash", "input_schema": {}}],
    )
    assert found.text == "fix the failing test"
    assert found.before == (Turn("system", "You are a shell."),)
    assert found.tools == ("Bash",)


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    text = "a" * 5000 + "b" * 5000
    found = of_text(text)
    assert found.text == "a" * EDGE_CHARS + "\n" + "b" * EDGE_CHARS
    assert found.n_chars == 10_000


@given(st.text(max_size=3 * EDGE_CHARS))
def test_clipping_never_lengthens_by_more_than_its_mark(text: str) -> None:
    clipped = clip(text)
    assert len(clipped) <= 2 * EDGE_CHARS + 1
    assert text.startswith(clipped[:EDGE_CHARS])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"messages": 5}',
        b'{"messages": [{"role": "user"}]}',
        b'{"messages": [null, 7, {"role": 3, "content": {"a": 1}}]}',
        b"[" * 5000,
        b"\xff\xfe",
    ],
)
def test_what_has_no_text_gives_nothing_and_no_error(body: bytes) -> None:
    assert read(CHAT, body) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "messages", "tools", "name"]), inner
        )
    ),
    max_leaves=12,
)


@given(messages=JSON_VALUES, tools=JSON_VALUES, max_tokens=JSON_VALUES)
def test_any_shape_is_read_without_an_error(messages: Any, tools: Any, max_tokens: Any) -> None:
    body = {"messages": messages, "tools": tools, "max_tokens": max_tokens}
    found = read(CHAT, json.dumps(body).encode())
    assert found is None or isinstance(found.text, str)
