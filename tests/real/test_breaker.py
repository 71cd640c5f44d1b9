"""The circuit breaker of a real engine that freezes and thaws: closed, open, half-open, closed."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.real.serving import RunningServer, wait_for

pytestmark = pytest.mark.engine

FROZEN = "small-0"
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two llama.cpp servers, asked in turn. Nobody looks whether they react but the requests."""
    config = {
        "defaults": {"first_token_timeout": "5s", "stall_timeout": "120s"},
        "router": {
            "policy": "round_robin",
            "breaker": {"failures": 2, "open": "4s", "successes": 2},
        },
        "models": {
            "small": {
                "source": "embedded:smollm2-gguf",
                "max_model_len": 512,
                "placement": {"replicas": 2},
                "engine_args": {"n_parallel": 2},
            }
        },
    }
    with RunningServer(config, tmp_path_factory.mktemp("pair")) as server:
        yield server.wait_ready(120)


def state_of(server: RunningServer) -> float:
    return next(
        sample.value
        for family in text_string_to_metric_families(server.get("/metrics").text)
        for sample in family.samples
        if sample.name == "roundhouse_breaker_state" and sample.labels["replica"] == FROZEN
    )


def engine_of(server: RunningServer, replica: str) -> psutil.Process:
    below = psutil.Process(server.rows()[replica]["pid"]).children(recursive=True)
    return next(p for p in below if "engines.llamacpp_server" in p.cmdline())


def answered_by(server: RunningServer) -> str:
    said = [{"role": "user", "content": "Say yes."}]
    answer = server.post(
        "/v1/chat/completions",
        {"model": "small", "messages": said, "max_tokens": 1, "stream": True},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-roundhouse-replica"])


def test_a_frozen_engine_is_left_alone_and_tried_again(pair: RunningServer) -> None:
    assert state_of(pair) == CLOSED
    engine = engine_of(pair, FROZEN)
    engine.suspend()
    try:
        # Every second request is first sent to the frozen one, waits for its time, and is answered.
        assert {answered_by(pair) for _ in range(4)} == {"small-1"}
        assert state_of(pair) == OPEN
        wait_for(lambda: state_of(pair) == HALF_OPEN, 10, "half-open")
        assert {answered_by(pair) for _ in range(2)} == {"small-1"}  # the probe fails
        assert state_of(pair) == OPEN
    finally:
        engine.resume()
    wait_for(lambda: FROZEN in {answered_by(pair) for _ in range(2)}, 15, "a probe that succeeds")
    wait_for(lambda: answered_by(pair) and state_of(pair) == CLOSED, 15, "closed")
    assert {answered_by(pair) for _ in range(4)} == {"small-0", "small-1"}
