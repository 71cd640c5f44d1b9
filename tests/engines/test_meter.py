"""What is read off a provider's stream on its way out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EngineOverloadedError
from engines.meter import MessagesMeter, OpenAIMeter, openai_tokens
from engines.prices import Tokens


def data(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


SAID = data({"choices": [{"delta": {"content": "hi"}}], "usage": None})
USAGE = data({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
DONE = b"data: [DONE]\n\n"

START = data({"type": "message_start", "message": {"usage": {"input_tokens": 5}}})
BLOCK = data({"type": "content_block_start", "index": 0})
DELTA = data({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}})
STOP = data({"type": "message_stop"})
ERROR = data({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def test_a_usage_that_only_we_asked_for_is_taken_out() -> None:
    meter = OpenAIMeter(hide_usage=True)
    assert meter.feed(SAID + USAGE + DONE) == SAID + DONE
    assert meter.tokens == Tokens(7, 2)
    assert meter.complete


def test_a_usage_that_the_client_asked_for_stays() -> None:
    meter = OpenAIMeter(hide_usage=False)
    assert meter.feed(SAID + USAGE + DONE) == SAID + USAGE + DONE
    assert meter.tokens == Tokens(7, 2)


def test_a_usage_beside_content_stays() -> None:
    both = data({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}})
    assert OpenAIMeter(hide_usage=True).feed(both) == both


@given(st.lists(st.integers(0, 200), max_size=6))
def test_where_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    whole, meter, places = SAID + USAGE + DONE, OpenAIMeter(hide_usage=True), [0, *sorted(cuts)]
    out = [meter.feed(whole[a:b]) for a, b in zip(places, [*places[1:], 999], strict=True)]
    assert b"".join(out) + meter.end() == SAID + DONE


def test_what_has_no_end_is_not_lost() -> None:
    meter = OpenAIMeter(hide_usage=True)
    assert meter.feed(SAID + b"data: [DO") == SAID
    assert meter.end() == b"data: [DO"


def test_the_usage_of_responses() -> None:
    done = {"type": "response.completed", "response": {"usage": {"input_tokens": 4}}}
    meter = OpenAIMeter(hide_usage=False)
    meter.feed(data(done))
    assert meter.tokens == Tokens(4, 0)


def test_tokens_under_both_names() -> None:
    details = {"cached_tokens": 2}
    chat = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": details}
    responses = {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": details}
    assert openai_tokens(chat) == openai_tokens(responses) == Tokens(5, 1, 2)


def test_messages_pass_unchanged_once_something_is_said() -> None:
    meter = MessagesMeter()
    assert meter.feed(START) == b""
    assert meter.feed(BLOCK[:9]) == b""
    assert meter.feed(BLOCK[9:]) == START + BLOCK
    assert meter.feed(DELTA + STOP) == DELTA + STOP
    assert (meter.complete, meter.tokens) == (True, Tokens(5, 3))


def test_an_error_before_that_is_a_failure() -> None:
    with pytest.raises(EngineOverloadedError, match="Overloaded"):
        MessagesMeter().feed(START + ERROR)


def test_an_error_after_it_is_told_as_it_came() -> None:
    meter = MessagesMeter()
    assert meter.feed(START + BLOCK + ERROR) == START + BLOCK + ERROR
    assert (meter.complete, meter.tokens) == (True, None)
