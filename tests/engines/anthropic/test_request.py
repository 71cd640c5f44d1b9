"""Chat completions said in the words of Anthropic's API."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.anthropic.request import Untranslatable, to_messages

PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def made(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return to_messages({"model": "here", "messages": [*messages], **more}, "there", 4096)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def test_the_least_that_can_be_asked() -> None:
    assert made(user("hi")) == {
        "model": "there",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_system_and_developer_messages_are_the_system_prompt() -> None:
    asked = made(
        {"role": "system", "content": "Be brief."},
        user("hi"),
        {"role": "developer", "content": [text("Be kind.")]},
    )
    assert asked["system"] == "Be brief.\n\nBe kind."
    assert [message["role"] for message in asked["messages"]] == ["user"]


def test_turns_of_one_role_become_one() -> None:
    asked = made(user("a"), user("b"), {"role": "assistant", "content": "c"}, user(""), user("d"))
    assert asked["messages"] == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("c")]},
        {"role": "user", "content": [text("d")]},
    ]


def test_an_answer_to_go_on_with_has_no_white_space_at_its_end() -> None:
    asked = made(user("hi"), {"role": "assistant", "content": "I say: \n"})
    assert asked["messages"][-1]["content"] == [text("I say:")]
    asked = made(user("hi"), {"role": "assistant", "content": " \n"})
    assert [message["role"] for message in asked["messages"]] == ["user"]


def test_images() -> None:
    image = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
    elsewhere = {"type": "image_url", "image_url": {"url": "https://a.example/b.jpg"}}
    content = made(user([text("look"), image, elsewhere]))["messages"][0]["content"]
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert content[1:] == [
        {"type": "image", "source": source},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.jpg"}},
    ]


def test_a_pdf_is_a_document() -> None:
    file = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
    (block,) = made(user([{"type": "file", "file": file}]))["messages"][0]["content"]
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    assert block == {"type": "document", "source": source}


def test_tools_their_calls_and_results() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "weather", "arguments": text}}
        for i, text in enumerate(['{"city": "Seoul"}', ""])
    ]
    asked = made(
        user("weather?"),
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c0", "content": "rain"},
        {"role": "tool", "tool_call_id": "c1", "content": [text("sun")]},
        user("and?"),
        tools=[WEATHER],
    )
    assert asked["tools"] == [
        {
            "name": "weather",
            "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
            "description": "Of a city.",
        }
    ]
    assert asked["messages"][1]["content"] == [
        text("Let me see."),
        {"type": "tool_use", "id": "c0", "name": "weather", "input": {"city": "Seoul"}},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {}},
    ]
    assert asked["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "c0", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "c1", "content": [text("sun")]},
            text("and?"),
        ],
    }


@pytest.mark.parametrize(
    ("chosen", "parallel", "said"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("required", True, {"type": "any"}),
        ("none", False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"type": "function", "function": {"name": "weather"}},
            False,
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_the_choice_of_a_tool(chosen: Any, parallel: bool | None, said: Any) -> None:
    asked = made(user("hi"), tools=[WEATHER], tool_choice=chosen, parallel_tool_calls=parallel)
    assert asked.get("tool_choice") == said


def test_sampling_and_limits() -> None:
    asked = made(user("hi"), temperature=1.7, top_p=0.9, stop="END", max_completion_tokens=7)
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (1.0, 0.9, 7)
    assert asked["stop_sequences"] == ["END"]
    assert made(user("hi"), stop=["a", "b"])["stop_sequences"] == ["a", "b"]
    assert made(user("hi"), temperature=0, max_tokens=3)["temperature"] == 0


def test_a_schema_for_the_answer() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    asked = made(user("hi"), response_format=wanted, user="u-1", stream=True)
    assert asked["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert (asked["metadata"], asked["stream"]) == ({"user_id": "u-1"}, True)


def test_hints_that_have_no_word_there_are_left_out() -> None:
    hints = {"seed": 1, "presence_penalty": 0.5, "store": False, "n": 1, "logprobs": False}
    assert made(user("hi"), **hints) == made(user("hi"))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "custom"}]}, "tools.0"),
        ({"tools": [WEATHER], "tool_choice": "perhaps"}, "tool_choice"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"role": "function"}]}, "messages.0.role"),
        ({"messages": [user(7)]}, "messages.0.content"),
        ({"messages": [user([{"type": "input_audio"}])]}, "messages.0.content.0"),
        ({"messages": [user([{"type": "image_url", "image_url": {}}])]}, "messages.0.content.0"),
        (
            {"messages": [user([{"type": "image_url", "image_url": {"url": "data:,x"}}])]},
            "messages.0.content.0",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "a", "function": {"name": "b", "arguments": "[1"}}],
                    }
                ]
            },
            "messages.0.tool_calls.0.function.arguments",
        ),
    ],
)
def test_what_cannot_be_said_is_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        to_messages({"messages": [user("hi")]} | more, "there", 1)
    assert caught.value.param == param
    assert str(caught.value).startswith(f"{param}: Anthropic's API cannot be asked for this: ")


ROLES = st.sampled_from(["user", "assistant", "system"])


@given(st.lists(st.tuples(ROLES, st.text(max_size=5)), min_size=1, max_size=12))
def test_turns_alternate_and_no_text_is_empty_or_lost(said: list[tuple[str, str]]) -> None:
    asked = made(*({"role": role, "content": content} for role, content in said))
    roles = [message["role"] for message in asked["messages"]]
    assert all(a != b for a, b in pairwise(roles))
    texts = [block["text"] for message in asked["messages"] for block in message["content"]]
    assert all(texts)
    spoken = "".join(content for role, content in said if role != "system")
    assert "".join(texts).rstrip() == spoken.rstrip()
    json.dumps(asked)
