"""Prompts that begin alike have blocks that begin alike, whatever the API; no body is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call import (
    BLOCK_BYTES,
    BYTES_PER_TOKEN,
    MAX_HASHED_BYTES,
    NO_CALL,
    Call,
    blocks_of,
    call_of,
)

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
LONG = "".join(f"line {number} of a long text; " for number in range(80))  # 7 blocks


def blocks(path: str = CHAT, **body: Any) -> tuple[int, ...]:
    return blocks_of(json.dumps({"model": "m", **body}).encode(), path)


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def shared(one: tuple[int, ...], two: tuple[int, ...]) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b),
        min(len(one), len(two)),
    )


FIRST = [said("system", LONG), said("user", LONG)]
LATER = [*FIRST, said("assistant", LONG[:500]), said("user", "go on " * 60)]


@pytest.mark.parametrize(
    ("path", "first", "later"),
    [
        (CHAT, {"messages": FIRST}, {"messages": LATER}),
        (COMPLETIONS, {"prompt": LONG}, {"prompt": LONG + LONG}),
        (COMPLETIONS, {"prompt": [*range(500)]}, {"prompt": [*range(900)]}),
        (COMPLETIONS, {"prompt": [LONG, "x"]}, {"prompt": [LONG + LONG, "y"]}),
        (RESPONSES, {"instructions": LONG, "input": FIRST}, {"instructions": LONG, "input": LATER}),
        (RESPONSES, {"input": LONG}, {"input": LONG + LONG}),
        (
            MESSAGES,
            {"system": LONG, "messages": FIRST[1:]},
            {"system": LONG, "messages": LATER[1:]},
        ),
    ],
)
def test_what_goes_on_has_all_blocks_of_what_came_before(
    path: str, first: dict[str, Any], later: dict[str, Any]
) -> None:
    one, two = blocks(path, **first), blocks(path, **later)
    assert len(one) >= 6
    assert two[: len(one)] == one
    assert len(two) > len(one)


@given(start=st.text(max_size=2000), one=st.text(max_size=400), two=st.text(max_size=400))
def test_blocks_are_shared_exactly_as_far_as_the_text_is(start: str, one: str, two: str) -> None:
    a, b = ((start + end).encode("utf-8", "surrogatepass") for end in (one, two))
    alike = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    found = shared(blocks(COMPLETIONS, prompt=start + one), blocks(COMPLETIONS, prompt=start + two))
    assert found == alike // BLOCK_BYTES


def test_a_change_changes_every_block_from_there_on() -> None:
    text = LONG[:600] + "X" + LONG[601:]
    one, two = blocks(COMPLETIONS, prompt=LONG), blocks(COMPLETIONS, prompt=text)
    assert len(one) == len(two) == len(LONG) // BLOCK_BYTES
    assert [a == b for a, b in zip(one, two, strict=True)] == [True, True] + [False] * (
        len(one) - 2
    )


def test_roles_tools_and_the_cache_salt_count() -> None:
    plain = blocks(messages=[said("user", LONG)])
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]
    assert shared(plain, blocks(messages=[said("system", LONG)])) == 0
    assert shared(plain, blocks(messages=[said("user", LONG)], tools=tools)) == 0
    assert shared(plain, blocks(messages=[said("user", LONG)], cache_salt="theirs")) == 0


def test_tools_and_system_come_first_wherever_they_stand_in_the_body() -> None:
    tools, messages = [{"name": "look_up", "input_schema": {}}], [said("user", LONG)]
    one = blocks(MESSAGES, tools=tools, system=LONG, messages=messages)
    two = blocks(MESSAGES, messages=[said("user", "another")], system=LONG, tools=tools)
    assert shared(one, two) >= len(LONG) // BLOCK_BYTES


def test_text_in_parts_is_text_and_cache_marks_are_not() -> None:
    mark = {"type": "ephemeral"}
    part = {"type": "text", "text": LONG}
    assert blocks(messages=[said("user", LONG)]) == blocks(messages=[said("user", [part])])
    marked = {**part, "cache_control": mark}
    assert blocks(MESSAGES, messages=[said("user", [part])]) == blocks(
        MESSAGES, messages=[said("user", [marked])]
    )


def test_calls_of_tools_and_their_results_count() -> None:
    used = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": LONG}}
    asked = {"role": "assistant", "content": None, "tool_calls": [used]}
    result = {"role": "tool", "tool_call_id": "c1", "content": LONG}
    first = [said("user", "find it"), asked]
    one, two = blocks(messages=first), blocks(messages=[*first, result])
    assert len(one) >= 6
    assert two[: len(one)] == one
    assert len(two) > len(one)


@pytest.mark.parametrize("key", ["openai", "anthropic"])
def test_an_image_is_told_by_its_ends_and_its_length(key: str) -> None:
    def asked(data: str) -> Call:
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        source = {"type": "image", "source": {"type": "base64", "data": data}}
        part = url if key == "openai" else source
        body = {"messages": [said("user", [part, {"type": "text", "text": LONG}])]}
        return call_of(json.dumps(body).encode(), CHAT)

    picture = "iVBORw0KGgo" + "A" * 3_000_000
    one, again, other = asked(picture), asked(picture), asked(picture + "BBBB")
    assert one == again
    assert shared(one.blocks, other.blocks) == 0
    assert one.n_tokens < 2000


def test_no_more_is_hashed_than_what_decides_but_all_is_counted() -> None:
    text = "word " * 200_000
    found = call_of(json.dumps({"prompt": text}).encode(), COMPLETIONS)
    assert len(found.blocks) == MAX_HASHED_BYTES // BLOCK_BYTES
    assert found.n_tokens == len(text) // BYTES_PER_TOKEN


def test_korean_is_counted_by_its_bytes() -> None:
    found = call_of(json.dumps({"prompt": "안녕하세요 " * 100}).encode(), COMPLETIONS)
    assert found.n_tokens == 16 * 100 // BYTES_PER_TOKEN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages": 7}',
        b'{"messages": [null, 1, true, {"role": {}}]}',
        b'{"prompt": []}',
        b'{"input": {"a": [{}]}}',
        b'{"tools": 3, "messages": "x", "metadata": 3}',
        b'{"prompt": "\\ud800"}',
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
def test_no_body_is_an_error(body: bytes, path: str) -> None:
    assert blocks_of(body, path) == ()
    assert call_of(body, path, "s").session == "s"


@given(body=st.binary(max_size=200))
def test_nor_is_any_other(body: bytes) -> None:
    assert isinstance(call_of(body, CHAT), Call)


def test_what_is_no_prompt_has_no_blocks() -> None:
    body = json.dumps({"input": LONG}).encode()
    assert call_of(body, "/v1/embeddings") is NO_CALL
    assert call_of(body, "/v1/embeddings", "s") == Call(session="s")
    assert blocks(COMPLETIONS, prompt="short") == ()


@pytest.mark.parametrize(
    ("body", "session"),
    [
        ({}, None),
        ({"user": "u"}, "u"),
        ({"user": ""}, None),
        ({"user": 3}, None),
        ({"prompt_cache_key": "k", "user": "u"}, "k"),
        ({"metadata": {"user_id": "claude"}}, "claude"),
        ({"metadata": {"other": "x"}}, None),
        ({"metadata": "x"}, None),
    ],
)
def test_the_session_is_the_header_s_or_the_body_s(
    body: dict[str, Any], session: str | None
) -> None:
    data = json.dumps({**body, "messages": []}).encode()
    assert call_of(data, CHAT).session == session
    assert call_of(data, CHAT, "header").session == "header"
