"""An orderly end: what was accepted is finished, what comes is turned away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, ask, contents, eventually

Http = Callable[..., httpx.Client]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_accepted_requests_end_whole_and_new_ones_are_refused(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.pace(token_rate=40)
    house = build(one, model={"max_in_flight": 1})
    client = http(house)
    streamed = pool.submit(client.post, CHAT, json=ask(8, stream=True))
    eventually(lambda: one.stats()["in_flight"] == 1)
    waiting = pool.submit(client.post, CHAT, json=ask(2))
    eventually(lambda: house.dispatcher.lanes["m"].queued == 1)
    drained = pool.submit(house.call, house.gateway.drain(20))
    eventually(lambda: house.gateway.draining)

    refused = client.post(CHAT, json=ask())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    error = refused.json()["error"]
    assert (error["message"], error["src"]) == ("the server is shutting down", "router")
    assert not drained.done()

    assert contents(streamed.result(20).text) == "".join(f"t{i} " for i in range(8))
    assert streamed.result().text.endswith("data: [DONE]\n\n")
    assert waiting.result(20).status_code == 200
    assert drained.result(20) is True
    assert one.stats()["requests"] == 2


def test_health_goes_on_and_ready_does_not(build: Build, one: FakeEngine, http: Http) -> None:
    house = build(one)
    client = http(house)
    assert house.call(house.gateway.drain(1)) is True
    assert client.get("/health").status_code == 200
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["ready"], ready.json()["draining"]) == (
        503,
        False,
        True,
    )
    assert client.get("/v1/models").status_code == 200
    assert "roundhouse_in_flight" in client.get("/metrics").text


def test_what_does_not_end_in_time_is_told(build: Build, one: FakeEngine, http: Http) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one)
    with http(house).stream("POST", CHAT, json=ask(stream=True)):
        assert house.call(house.gateway.drain(0.05)) is False
    eventually(lambda: one.stats()["aborted"] == 1)
    assert house.call(house.gateway.drain(1)) is True


def test_a_client_that_hangs_up_does_not_hold_up_the_end(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one)
    with http(house).stream("POST", CHAT, json=ask(stream=True)):
        drained = pool.submit(house.call, house.gateway.drain(20))
        eventually(lambda: house.gateway.draining)
    assert drained.result(20) is True
