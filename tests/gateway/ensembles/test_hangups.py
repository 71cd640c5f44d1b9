"""Clients that go away in each phase: every member stops, and nothing is left."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open, running
from tests.gateway.house import CHAT, House, eventually

Http = Callable[..., httpx.Client]
Speakers = dict[str, FakeSpeaker]
LONG = " ".join(f"word{i}" for i in range(400))
SLOW = {"token_rate": 20}


def request(house: House, model: str, **more: Any) -> socket.socket:
    """A client that has sent its request, and reads nothing unless it is told to."""
    client = socket.create_connection(("127.0.0.1", house.port), timeout=20)
    messages = [{"role": "user", "content": "What is 9 + 9?"}]
    text = json.dumps({"model": model, "messages": messages, **more}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(text)}\r\n\r\n"
    client.sendall(head.encode() + text)
    return client


def is_free(house: House, speakers: Speakers) -> bool:
    gateway = house.gateway
    return (
        running(speakers) == 0
        and all(replica.in_flight == 0 for replica in house.dispatcher.replicas.values())
        and gateway.forwarder._open == set()
        and gateway.ensembles._running == 0
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "at_work"), [("ensemble:vote:a+b+c", 3), ("ensemble:vote:5:a", 1)]
)
def test_in_the_panel(
    open_house: Open, speakers: Speakers, model: str, at_work: int, stream: bool
) -> None:
    house = open_house()
    for speaker in speakers.values():
        speaker.say(LONG)
        speaker.pace(**SLOW)
    with closing(request(house, model, stream=stream)):
        eventually(lambda: running(speakers) == at_work)
    eventually(lambda: is_free(house, speakers))
    assert sum(speaker.stats()["aborted"] for speaker in speakers.values()) == at_work


def test_in_the_escalation_before_its_first_word(open_house: Open, speakers: Speakers) -> None:
    house = open_house()
    speakers["a"].say("It is 17.")
    speakers["c"].behave(mode="hang")
    with closing(request(house, "cascade:a>b>c", stream=True)):
        eventually(lambda: speakers["c"].stats()["in_flight"] == 1)
    eventually(lambda: is_free(house, speakers))


def test_in_the_middle_of_the_answer(open_house: Open, speakers: Speakers) -> None:
    house = open_house()
    speakers["a"].say("It is 17.")
    speakers["c"].say(LONG)
    speakers["c"].pace(**SLOW)
    with closing(request(house, "cascade:a>b>c", stream=True)) as client:
        seen = b""
        while b"word3" not in seen:
            seen += client.recv(65536)
    eventually(lambda: is_free(house, speakers))
    assert speakers["c"].stats()["aborted"] == 1


def test_while_a_member_waits_in_line(open_house: Open, speakers: Speakers) -> None:
    house = open_house(models={"a": {"max_in_flight": 1}})
    speakers["a"].say(LONG)
    speakers["a"].pace(**SLOW)
    speakers["b"].say("It is 19.")  # so that a's vote is waited for
    with (
        closing(request(house, "a")),
        closing(request(house, "ensemble:vote:a+b+c", routing={})),
    ):
        eventually(lambda: house.dispatcher.lanes["a"].queued == 1)
    eventually(lambda: is_free(house, speakers))
    assert house.dispatcher.lanes["a"].queued == 0


def test_who_is_outvoted_stops(open_house: Open, http: Http, speakers: Speakers) -> None:
    house = open_house()
    speakers["c"].say(LONG)
    speakers["c"].pace(**SLOW)
    body = {
        "model": "ensemble:vote:a+b+c",
        "messages": [{"role": "user", "content": "What is 9 + 9?"}],
        "routing": {"trace": True},
    }
    trace = http(house).post(CHAT, json=body).json()["roundhouse"]
    eventually(lambda: is_free(house, speakers))
    assert [call["fate"] for call in trace["calls"]] == ["answered", "answered", "cancelled"]
    assert speakers["c"].stats()["aborted"] == 1
    assert "roundhouse_client_disconnects_total{" not in http(house).get("/metrics").text


def test_a_hang_up_is_counted_once(open_house: Open, http: Http, speakers: Speakers) -> None:
    house = open_house()
    for speaker in speakers.values():
        speaker.behave(mode="hang")
    with closing(request(house, "ensemble:vote:a+b+c")):
        eventually(lambda: running(speakers) == 3)
    eventually(lambda: is_free(house, speakers))
    page = http(house).get("/metrics").text
    assert 'roundhouse_client_disconnects_total{model="ensemble:vote"} 1.0' in page
    assert 'roundhouse_client_disconnects_total{model="a"}' not in page


def test_a_draining_gateway_waits_for_them(open_house: Open, speakers: Speakers) -> None:
    house = open_house()
    speakers["b"].behave(mode="hang")
    with closing(request(house, "ensemble:vote:a+b")):
        eventually(lambda: running(speakers) == 1)
        assert not house.call(house.gateway.drain(0.2))
    assert house.call(house.gateway.drain(20))


def ensemble(kind: str, **more: Any) -> dict[str, Any]:
    return {"ensemble": {"kind": kind, **more}}


STEPS = [{"name": name, "model": name, "template": "{question}"} for name in ("a", "c")]
LATER_PHASES = {
    "the check of verify": ensemble("verify", members=["a", "c"]),
    "the plan of decompose": ensemble("decompose", members=["a", "b"], planner="c"),
    "the judge of fuse": ensemble("fuse", members=["a", "b"], judge="c"),
    "the writer of fuse": ensemble("fuse", members=["a", "b"], judge="a", writer="c"),
    "the judge of best_of": ensemble("best_of", members=["a", "b"], judge="c"),
    "the second step of a chain": ensemble("chain", steps=STEPS),
}


@pytest.mark.parametrize("phase", LATER_PHASES)
def test_in_later_phases(open_house: Open, speakers: Speakers, phase: str) -> None:
    house = open_house()
    speakers["b"].say("It is 19.")
    speakers["c"].behave(mode="hang")
    with closing(request(house, "ensemble", routing=LATER_PHASES[phase])):
        eventually(lambda: speakers["c"].stats()["in_flight"] > 0)
    eventually(lambda: is_free(house, speakers))
