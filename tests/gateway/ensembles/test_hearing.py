"""What a member says, put together from its chunks, wherever they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import EngineError, EngineTimeoutError
from gateway.ensembles.hearing import Hearing
from router.ensembles.ask import Choice, Meter, Token, Usage


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def chunk(text: str, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish, **more}
    return {"choices": [choice]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}


@given(st.lists(st.integers(1, 40), max_size=30))
def test_pieces_of_any_size_say_the_same(sizes: list[int]) -> None:
    data = sse(chunk("one"), chunk(" two", 1), chunk("", 0, "stop"), chunk("!", 1, "length"), USAGE)
    hearing = Hearing(Meter(), 2)
    for size in sizes:
        hearing.feed(data[:size])
        data = data[size:]
    hearing.feed(data + b": a comment\n\ndata: [DONE]\n\n")
    assert [(c.text, c.index, c.finish_reason) for c in hearing.choices()] == [
        ("one", 0, "stop"),
        (" two!", 1, "length"),
    ]
    assert hearing.usage == Usage(7, 5)


def test_tokens_are_counted_as_they_come_and_samples_told_as_they_end() -> None:
    told: list[Choice] = []
    meter = Meter(None, told.append)
    hearing = Hearing(meter, 2)
    hearing.feed(sse(chunk("a"), chunk("b", 1), chunk("c", 0, "stop")))
    assert meter.output_tokens == 3
    assert [choice.text for choice in told] == ["ac"]
    hearing.feed(sse(chunk("d", 1, "stop")))
    assert len(told) == 1  # the last one is told by the end, which has the usage


def test_llamacpp_counts_one_answer_of_several_so_what_came_counts() -> None:
    hearing = Hearing(Meter(), 2)
    hearing.feed(sse(*(chunk("x", i % 2) for i in range(8)), USAGE))
    assert hearing.usage == Usage(7, 8)


def test_an_engine_that_says_more_than_it_may_is_stopped() -> None:
    hearing = Hearing(Meter(2))
    with pytest.raises(EngineError, match="more than the 2 tokens"):
        hearing.feed(sse(chunk("a"), chunk("b"), chunk("c")))


def test_logprobs_and_their_runners_up() -> None:
    token = {"token": "a", "logprob": -0.1}
    top = [token, {"token": "b", "logprob": -2.0}]
    hearing = Hearing(Meter())
    logprobs = {"content": [{**token, "top_logprobs": top}, {"token": "c", "logprob": -0.3}]}
    hearing.feed(sse(chunk("ac", logprobs=logprobs)))
    (choice,) = hearing.choices()
    assert choice.logprobs == (Token(-0.1, -2.0), Token(-0.3, None))


def test_calls_of_tools_are_put_together() -> None:
    def calling(**call: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}}]}

    hearing = Hearing(Meter())
    hearing.feed(
        sse(
            calling(id="c1", type="function", function={"name": "f", "arguments": ""}),
            calling(function={"arguments": '{"a":'}),
            calling(function={"arguments": "1}"}),
        )
    )
    (choice,) = hearing.choices()
    assert choice.message is not None
    assert choice.message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert not choice.is_empty


def test_an_engine_that_does_not_stream_is_heard() -> None:
    hearing = Hearing(Meter())
    message = {"role": "assistant", "content": "hi"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    hearing.whole(json.dumps({**answer, "usage": USAGE["usage"]}).encode())
    assert [choice.text for choice in hearing.choices()] == ["hi"]
    assert hearing.usage == Usage(7, 5)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "gone", "code": 500}}, EngineError),
        ({"error": {"message": "slow", "code": "engine_timeout"}}, EngineTimeoutError),
    ],
)
def test_a_failure_in_the_stream_is_raised(event: Any, kind: type[EngineError]) -> None:
    with pytest.raises(kind, match=r"gone|slow"):
        Hearing(Meter()).feed(sse(event))


@pytest.mark.parametrize("data", [b"data: {nonsense\n\n", b"data: 5\n\n"])
def test_nonsense_is_an_engines_failure(data: bytes) -> None:
    with pytest.raises(EngineError, match="its answer is no"):
        Hearing(Meter()).feed(data)
