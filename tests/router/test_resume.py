"""The request for the rest of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.resume import is_continuable, rest_of

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USER = {"role": "user", "content": "안녕"}


def chat(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [USER], "stream": True} | more).encode()


def asked(body: bytes, said: str, n_tokens: int, path: str = CHAT) -> dict[str, Any]:
    rest = rest_of(body, path, said, n_tokens)
    assert rest is not None
    read: dict[str, Any] = json.loads(rest.body)
    return read


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"n": 1, "best_of": 1},
        {"n": None, "logprobs": None, "echo": False, "suffix": None},
        {"response_format": {"type": "text"}},
        {"tools": [{"type": "function"}], "tool_choice": "auto"},
        {"continue_final_message": True, "add_generation_prompt": False},
    ],
)
def test_continuable(wish: dict[str, Any]) -> None:
    assert is_continuable(chat(**wish), CHAT)


@pytest.mark.parametrize(
    "wish",
    [
        {"n": 2},
        {"best_of": 3},
        {"logprobs": 0},
        {"logprobs": True},
        {"echo": True},
        {"response_format": {"type": "json_schema"}},
        {"structured_outputs": {"choice": ["a"]}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function"}},
        {"add_generation_prompt": False},
        {"messages": []},
        {"messages": "hi"},
        {"messages": None},
        {"messages": [{"content": [{"type": "text"}]}], "continue_final_message": True},
    ],
)
def test_not_continuable(wish: dict[str, Any]) -> None:
    assert not is_continuable(chat(**wish), CHAT)


@pytest.mark.parametrize("prompt", [None, ["a"], [1, 2], {}])
def test_a_completion_needs_one_prompt_of_text(prompt: Any) -> None:
    assert not is_continuable(json.dumps({"prompt": prompt}).encode(), COMPLETIONS)


@pytest.mark.parametrize("body", [b"", b"[]", b"no", b"\xff", b"[" * 9999, b'{"n":'])
def test_what_is_no_request_is_not_continuable(body: bytes) -> None:
    assert not is_continuable(body, CHAT)
    assert not is_continuable(body, "/v1/messages")


def test_the_chat_goes_on_where_it_was_and_all_else_stays() -> None:
    body = b'{"x": 1.50, "messages": [ {"role":"user","content":"\\uc548"} ], "max_tokens":9}'
    rest = rest_of(body, CHAT, "하나 둘\n\n", 3)
    assert rest is not None
    assert b'"x":1.50' in rest.body
    assert b'{"role":"user","content":"\\uc548"}' in rest.body
    read = json.loads(rest.body)
    assert read["messages"][-1] == {"role": "assistant", "content": "하나 둘"}
    assert (rest.overlap, rest.n_tokens, read["max_tokens"]) == ("\n\n", 3, 6)
    assert (read["continue_final_message"], read["add_generation_prompt"]) == (True, False)


def test_the_clients_own_beginning_is_kept() -> None:
    begun = [USER, {"role": "assistant", "content": "Well,", "name": "a"}]
    body = chat(messages=begun, continue_final_message=True, add_generation_prompt=False)
    assert asked(body, " yes", 1)["messages"][1:] == [
        {"role": "assistant", "content": "Well, yes", "name": "a"}
    ]


def test_limits_count_down() -> None:
    limits = {"max_tokens": 9, "max_completion_tokens": 8, "min_tokens": 2}
    read = asked(chat(**limits), "a b c", 3)
    assert [read[name] for name in limits] == [6, 5, 0]
    assert rest_of(chat(max_tokens=3), CHAT, "a b c", 3) is None
    assert "max_tokens" not in asked(chat(), "a", 1)


@pytest.mark.parametrize("said", ["", " ", "\n\n"])
def test_where_nothing_was_said_the_request_stays_as_it_was(said: str) -> None:
    body = chat(max_tokens=2)
    rest = rest_of(body, CHAT, said, 2)
    assert rest is not None
    assert (rest.body, rest.overlap, rest.n_tokens) == (body, said, 0)


def test_a_completions_prompt_grows() -> None:
    body = json.dumps({"prompt": "Count: ", "max_tokens": 9}).encode()
    assert asked(body, "1 2 ", 4, COMPLETIONS) == {"prompt": "Count: 1 2 ", "max_tokens": 5}
    unlimited = json.dumps({"prompt": "Count: "}).encode()
    assert asked(unlimited, "1", 4, COMPLETIONS)["max_tokens"] == 12
