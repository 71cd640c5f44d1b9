"""Clients that go away: whatever was done for them stops."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, ask, eventually

Http = Callable[..., httpx.Client]


def request(house: House, body: dict[str, Any]) -> socket.socket:
    """A client that has sent its request, and reads nothing unless it is told to."""
    client = socket.create_connection(("127.0.0.1", house.port), timeout=20)
    text = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(text)}\r\n\r\n"
    client.sendall(head.encode() + text)
    return client


def freed(house: House, engine: FakeEngine) -> Callable[[], bool]:
    return lambda: (
        engine.stats()["aborted"] == 1
        and engine.stats()["in_flight"] == 0
        and house.dispatcher.replicas["m-0"].in_flight == 0
    )


def hang_ups(http: Http, house: House) -> str:
    lines = http(house).get("/metrics").text.split("\n")
    found = [line for line in lines if line.startswith("roundhouse_client_disconnects_total{")]
    return found[0] if found else ""


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", [{"mode": "hang"}, {"mode": "slow_first_token", "seconds": 9}])
def test_before_the_first_byte_the_engine_is_freed(
    build: Build, one: FakeEngine, http: Http, stream: bool, fault: dict[str, Any]
) -> None:
    one.behave(**fault)
    house = build(one)
    with closing(request(house, ask(stream=stream))):
        eventually(lambda: one.stats()["in_flight"] == 1)
    eventually(freed(house, one))
    assert hang_ups(http, house) == 'roundhouse_client_disconnects_total{model="m"} 1.0'


@pytest.mark.parametrize("fault", [{"mode": "stall_after", "n": 2}, {"mode": "ok"}])
def test_within_a_stream_the_engine_is_freed(
    build: Build, one: FakeEngine, http: Http, fault: dict[str, Any]
) -> None:
    one.behave(**fault)
    one.pace(token_rate=20)
    house = build(one)
    with closing(request(house, ask(1000, stream=True))) as client:
        assert b"t0 " in client.recv(65536) + client.recv(65536)
    eventually(freed(house, one))
    assert hang_ups(http, house) == 'roundhouse_client_disconnects_total{model="m"} 1.0'


def test_a_hang_up_by_reset_is_one_too(build: Build, one: FakeEngine) -> None:
    one.behave(mode="stall_after", n=1)
    house = build(one)
    client = request(house, ask(stream=True))
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    eventually(freed(house, one))


def test_a_client_that_stopped_reading_and_goes_is_one_too(build: Build, one: FakeEngine) -> None:
    house = build(one)
    with closing(request(house, ask(200_000, stream=True))) as client:
        client.recv(1)
        eventually(lambda: one.stats()["in_flight"] == 1)
    eventually(freed(house, one))


def test_in_the_line_the_place_is_given_up(build: Build, one: FakeEngine, http: Http) -> None:
    one.behave(mode="stall_after", n=1, times=1)
    house = build(one, model={"max_in_flight": 1})
    lane = house.dispatcher.lanes["m"]
    with closing(request(house, ask(stream=True))) as first:
        first.recv(1)
        with closing(request(house, ask(stream=True))), closing(request(house, ask())) as third:
            eventually(lambda: lane.queued == 2)
            third.shutdown(socket.SHUT_RDWR)
            eventually(lambda: lane.queued == 1)
        eventually(lambda: lane.queued == 0)
        assert one.stats()["requests"] == 1
    assert http(house).post(CHAT, json=ask()).status_code == 200
    assert one.stats()["requests"] == 2


def test_the_next_in_line_takes_the_freed_place(build: Build, one: FakeEngine) -> None:
    one.behave(mode="stall_after", n=1, times=1)
    house = build(one, model={"max_in_flight": 1})
    first = request(house, ask(stream=True))
    first.recv(1)
    with closing(request(house, ask())) as second:
        eventually(lambda: house.dispatcher.lanes["m"].queued == 1)
        first.close()
        assert second.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_no_other_replica_is_asked_for_one_who_has_gone(
    build: Build, one: FakeEngine, two: FakeEngine
) -> None:
    one.behave(mode="hang")
    house = build(one, two)
    with closing(request(house, ask())):
        eventually(lambda: one.stats()["in_flight"] == 1)
    eventually(freed(house, one))
    assert two.stats()["requests"] == 0
