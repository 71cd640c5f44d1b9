"""Lines of output, and the figures of many."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.batch.figures import Figures, quantile
from cli.batch.outcome import Outcome, Usage, usage_of
from cli.batch.request import Request

REQUEST = Request(1, "a", "/v1/chat/completions", {"model": "asked"})


def answer(model: str = "m", latency_s: float = 1.0, **usage: Any) -> Outcome:
    return Outcome(REQUEST, latency_s, 200, "req-1", {"model": model, "usage": usage})


def test_an_answer() -> None:
    line = json.loads(answer(prompt_tokens=3).line())
    assert line.pop("id").startswith("batch_req_")
    body = {"model": "m", "usage": {"prompt_tokens": 3}}
    response = {"status_code": 200, "request_id": "req-1", "body": body}
    assert line == {"custom_id": "a", "response": response, "error": None}


def test_an_error_of_the_server_and_one_without_an_answer() -> None:
    body = {"error": {"message": "no such model"}}
    refused = Outcome(REQUEST, 0.1, 404, "req-2", body)
    assert not refused.is_answer
    assert refused.model == "asked"
    assert json.loads(refused.line())["response"]["body"] == body
    lost = Outcome(REQUEST, 0.1, error={"code": "c", "message": "m"})
    line = json.loads(lost.line())
    assert (line["response"], line["error"]["code"]) == (None, "c")


@pytest.mark.parametrize("text", ["가나다\n\u2028", "half \ud83d", "\x00"])
def test_any_text_is_one_line(text: str) -> None:
    line = Outcome(REQUEST, 0.1, 200, "", {"said": text}).line()
    assert line.count(b"\n") == 1
    assert json.loads(line.decode())["response"]["body"]["said"] == text
    assert text != "가나다\n\u2028" or "가나다".encode() in line


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 0}}, Usage(3, 0)),
        ({"usage": {"input_tokens": 4, "output_tokens": 5, "cost": 0.1}}, Usage(4, 5, 0.1)),
        ({"usage": {"prompt_tokens": 6, "total_tokens": 6}}, Usage(6)),
        ({"usage": None}, Usage()),
        ({}, Usage()),
        ("text", Usage()),
    ],
)
def test_usage(body: Any, usage: Usage) -> None:
    assert usage_of(body) == usage


def test_figures_by_model() -> None:
    figures = Figures()
    for n in range(1, 21):
        figures.add(answer("a", n, prompt_tokens=10, completion_tokens=2, cost=0.5))
    figures.add(answer("b"))
    figures.add(Outcome(REQUEST, 9.0, 500))
    a, asked, b = figures.told(8.0)
    assert (figures.requests, figures.failed) == (22, 1)
    assert a == {
        "model": "a",
        "requests": 20,
        "failed": 0,
        "tokens_in": 200,
        "tokens_out": 40,
        "tokens_per_s": 5.0,
        "latency_p50_s": 10,
        "latency_p95_s": 19,
        "cost_usd": 10.0,
    }
    assert (asked["model"], asked["failed"], asked["latency_p50_s"]) == ("asked", 1, None)
    assert (b["tokens_out"], b["tokens_per_s"], b["cost_usd"]) == (None, None, None)


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_that_covers_its_share(values: list[int], share: float) -> None:
    found = quantile(array("d", values), share)
    assert found is not None
    assert sum(v <= found for v in values) >= share * len(values) - 1e-6
    assert sum(v < found for v in values) < share * len(values)
