"""The load client against the fake engine: exact counts, and no failure hidden."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, astuple
from typing import Any

import pytest

from benchmarks.load import LoadResult, Quantiles, run
from tests.fakes.running import FakeEngine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


def body(tokens: int, *, stream: bool = True, usage: bool = True) -> bytes:
    value: dict[str, Any] = {"model": "fake", "max_tokens": tokens, "stream": stream}
    if stream and usage:
        value["stream_options"] = {"include_usage": True}
    return json.dumps(value | {"messages": [{"role": "user", "content": "hi"}]}).encode()


def load(url: str, **options: Any) -> LoadResult:
    return asyncio.run(run(url, **({"bodies": [body(5)]} | options)))


def test_counts_every_event_and_token_of_every_stream(engine: FakeEngine) -> None:
    result = load(engine.url, bodies=[body(64)], concurrency=8, requests=50, expected_tokens=64)
    assert (result.succeeded, result.failures) == (50, {})
    assert result.output_tokens == 50 * 64
    assert result.chunks == 50 * (1 + 64 + 1 + 1)  # role, tokens, usage, [DONE]
    assert engine.stats()["completed"] == 50


def test_counts_do_not_depend_on_how_writes_are_cut() -> None:
    with FakeEngine(burst=1000) as engine:
        result = load(engine.url, bodies=[body(3000)], concurrency=3, requests=6)
    assert result.chunks == 6 * (1 + 3000 + 1 + 1)


def test_without_usage_the_events_are_the_tokens_less_role_and_done(engine: FakeEngine) -> None:
    result = load(engine.url, bodies=[body(7, usage=False)], requests=2)
    assert (result.chunks, result.output_tokens) == (2 * 9, 2 * 7)


def test_whole_answers(engine: FakeEngine) -> None:
    bodies = [body(1, stream=False)]
    result = load(engine.url, bodies=bodies, concurrency=4, requests=200, expected_tokens=1)
    assert (result.succeeded, result.output_tokens, result.failures) == (200, 200, {})
    assert result.requests_per_s > 0


def test_anthropic_streams(engine: FakeEngine) -> None:
    result = load(engine.url, path="/v1/messages", requests=3, expected_tokens=5)
    assert (result.succeeded, result.chunks) == (3, 3 * (2 + 5 + 3))


def test_bodies_are_taken_in_turn_and_headers_sent(engine: FakeEngine) -> None:
    headers = {"authorization": "Bearer sk-x"}
    load(engine.url, bodies=[body(1), body(2)], requests=2, headers=headers)
    last = engine.stats()["last"]
    assert json.loads(last["body"])["max_tokens"] == 2
    assert last["headers"]["authorization"] == "Bearer sk-x"


def test_times_are_those_of_the_engine() -> None:
    with FakeEngine(token_rate=100, first_token_delay_s=0.1) as engine:
        result = load(engine.url, bodies=[body(21)], concurrency=2, requests=2)
    assert result.ttft_s.p50 == pytest.approx(0.1, abs=0.03)
    assert result.itl_s.p50 == pytest.approx(0.01, abs=0.004)
    assert result.tpot_s.p50 == pytest.approx(0.01, abs=0.003)
    assert result.e2el_s.p50 == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"mode": "status", "status": 429}, "HTTP 429"),
        ({"mode": "cut_before_first_byte"}, "connection closed, no answer"),
        ({"mode": "cut_after_headers"}, "connection closed"),
        ({"mode": "cut_stream", "n": 2}, "connection closed"),
        ({"mode": "error_event_first"}, "error event"),
        ({"mode": "error_event_after", "n": 2}, "error event"),
        ({"mode": "stall_after", "n": 2}, "timeout"),
        ({"mode": "hang"}, "timeout"),
    ],
)
def test_failures_are_counted_by_reason(
    engine: FakeEngine, behaviour: dict[str, Any], reason: str
) -> None:
    engine.behave(**behaviour, times=2)
    result = load(engine.url, concurrency=2, requests=6, timeout_s=0.5)
    assert result.failures == {reason: 2}
    assert (result.succeeded, result.failed, result.output_tokens) == (4, 2, 4 * 5)


def test_a_run_may_be_limited_by_time_and_start_spread_out() -> None:
    with FakeEngine(token_rate=50) as engine:
        result = load(engine.url, bodies=[body(6)], concurrency=4, for_s=0.25, ramp_s=0.1)
    assert result.duration_s == pytest.approx(0.35, abs=0.1)
    assert result.succeeded == result.requests == pytest.approx(12, abs=4)
    with pytest.raises(ValueError, match="must be given"):
        load(engine.url)


def test_the_wrong_number_of_tokens_is_a_failure(engine: FakeEngine) -> None:
    result = load(engine.url, requests=2, expected_tokens=6)
    assert result.failures == {"5 tokens instead of 6": 2}


def test_a_refused_connection_fails_every_request(engine: FakeEngine) -> None:
    engine.kill()
    result = load(engine.url, concurrency=3, requests=7)
    assert (result.succeeded, result.failures) == (0, {"connection refused": 7})


def test_the_result_is_json(engine: FakeEngine) -> None:
    assert json.loads(json.dumps(asdict(load(engine.url, requests=1))))["succeeded"] == 1


def test_quantiles_interpolate_like_numpy() -> None:
    quantiles = Quantiles.of([3.0, 1.0, 2.0, 4.0])
    assert astuple(quantiles) == pytest.approx((2.5, 2.5, 3.7, 3.97))
    assert Quantiles.of([]) == Quantiles(0.0, 0.0, 0.0, 0.0)
