"""More requests than the replicas take at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from engines.base import EngineStatus, State
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, ask, eventually
from tests.gateway.raw import raw_engine

Http = Callable[..., httpx.Client]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def post(client: httpx.Client, **more: Any) -> httpx.Response:
    return client.post(CHAT, json=ask(**more))


def in_line(
    house: House, pool: ThreadPoolExecutor, client: httpx.Client, count: int
) -> list[Future[httpx.Response]]:
    """Requests that came one after the other, each asking for its number of tokens."""
    lane = house.dispatcher.lanes["m"]
    answers = []
    for tokens in range(1, count + 1):
        answers.append(pool.submit(post, client, tokens=tokens))
        eventually(lambda expected=tokens: lane.queued == expected)
    return answers


def test_the_second_waits_for_the_first(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.behave(mode="stall_after", n=1, times=1)
    house = build(one, model={"max_in_flight": 1})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)) as stalled:
        assert stalled.status_code == 200
        (waiting,) = in_line(house, pool, client, 1)
        assert one.stats()["requests"] == 1
        assert 'roundhouse_queued{model="m"} 1.0' in client.get("/metrics").text
    assert waiting.result(20).json()["choices"][0]["message"]["content"] == "t0 "


def test_the_line_keeps_its_order(build: Build, http: Http, pool: ThreadPoolExecutor) -> None:
    with raw_engine(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", requests_each=9) as raw:
        house = build(models={"m": {"source": raw.url, "max_in_flight": 1}})
        lane = house.dispatcher.lanes["m"]
        taken = house.call(lane.acquire())
        answers = in_line(house, pool, http(house), 8)

        async def release() -> None:
            lane.release(taken)

        house.call(release())
        assert [answer.result(20).status_code for answer in answers] == [200] * 8
        asked = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in raw.seen]
    assert [body["max_tokens"] for body in asked] == list(range(1, 9))


def test_never_more_than_the_limit_at_an_engine(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    for engine in (one, two):
        engine.pace(first_token_delay_s=0.01)
    client = http(build(one, two, model={"max_in_flight": 2}))
    seen = []
    answers = [pool.submit(post, client, stream=bool(i % 2)) for i in range(40)]
    while not all(answer.done() for answer in answers):
        seen.append((one.stats()["in_flight"], two.stats()["in_flight"]))
    assert {answer.result().status_code for answer in answers} == {200}
    assert max(max(pair) for pair in seen) == 2
    assert one.stats()["completed"] + two.stats()["completed"] == 40


def test_a_full_line_is_429_with_retry_after(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.behave(mode="stall_after", n=1, times=1)
    house = build(one, model={"max_in_flight": 1}, server={"max_queued": 2})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        waiting = in_line(house, pool, client, 2)
        refused = post(client)
    error = refused.json()["error"]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert (error["type"], error["code"], error["src"]) == (
        "rate_limit_error",
        "queue_full",
        "router",
    )
    assert error["message"] == ("model 'm' has 2 requests waiting already (server.max_queued is 2)")
    assert [answer.result(20).status_code for answer in waiting] == [200, 200]


def test_a_full_model_does_not_hold_up_another(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=1)
    models = {"other": {"source": two.url}}
    client = http(build(one, model={"max_in_flight": 1}, models=models, server={"max_queued": 0}))
    with client.stream("POST", CHAT, json=ask(stream=True)):
        assert post(client).status_code == 429
        assert post(client, model="other").status_code == 200


def test_waiting_too_long_is_503_with_retry_after(
    build: Build, one: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one, model={"max_in_flight": 1}, server={"queue_timeout": "30ms"})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        refused = post(client)
    error = refused.json()["error"]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert (error["code"], error["src"]) == ("model_unavailable", "router")
    assert error["message"] == "model 'm' was busy for 0.03 s (server.queue_timeout)"


def test_a_replica_that_comes_up_takes_from_the_line(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one, two, model={"max_in_flight": 1})
    house.report("m-1", None)
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        (waiting,) = in_line(house, pool, client, 1)
        house.report("m-1", EngineStatus(State.READY, url=two.url))
        assert waiting.result(20).headers["x-roundhouse-replica"] == "m-1"


def test_a_replica_that_goes_down_ends_the_waiting(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one, model={"max_in_flight": 1})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        waiting = in_line(house, pool, client, 3)
        house.report("m-0", None)
        assert [answer.result(20).status_code for answer in waiting] == [503, 503, 503]


def test_a_failed_request_waits_for_another_replicas_place(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    two.behave(mode="stall_after", n=1, times=1)
    house = build(one, two, model={"max_in_flight": 1})
    client = http(house)
    house.dispatcher.replicas["m-0"].served = 1  # so that the stalled one goes to m-1
    with client.stream("POST", CHAT, json=ask(stream=True)) as stalled:
        assert stalled.headers["x-roundhouse-replica"] == "m-1"
        one.behave(mode="status", status=500, times=1)
        (waiting,) = in_line(house, pool, client, 1)
        assert post(client).headers["x-roundhouse-replica"] == "m-0"  # it holds up nobody
    answer = waiting.result(20)
    assert answer.headers["x-roundhouse-replica"] == "m-1"
    assert answer.headers["x-roundhouse-attempts"] == "2"


def test_the_overhead_tells_of_the_wait(
    build: Build, one: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    one.pace(token_rate=20)
    house = build(one, model={"max_in_flight": 1})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(3, stream=True)) as first:
        (waiting,) = in_line(house, pool, client, 1)
        lines = list(first.iter_lines())
    assert lines[-2] == "data: [DONE]"
    answer = waiting.result(20)
    assert float(answer.headers["x-roundhouse-overhead-ms"]) > 10
    assert json.loads(answer.text)["usage"]["completion_tokens"] == 1
