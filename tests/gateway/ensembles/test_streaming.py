"""What a client of a stream sees: heartbeats, then the answer, or an error in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2 as httpx

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open, said
from tests.gateway.house import CHAT, events

Http = Callable[..., httpx.Client]
Speakers = dict[str, FakeSpeaker]
BODY: Any = {"messages": [{"role": "user", "content": "What is 9 + 9?"}], "stream": True}


def test_heartbeats_come_before_the_answer(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    speakers["c"].pace(token_rate=2)  # the others disagree, so that it is waited for
    speakers["b"].say("It is 19.")
    body = {**BODY, "model": "ensemble:vote:a+b+c"}
    text = http(open_house()).post(CHAT, json=body).text
    before, _, after = text.partition("data: ")
    assert ": panel 2/3\n\n" in before
    assert ": panel" not in after
    assert said("data: " + after) == "The answer is 18."
    assert events(text)[-1] == "[DONE]"


def test_long_silence_has_heartbeats_too(open_house: Open, http: Http, speakers: Speakers) -> None:
    for name in "abc":
        speakers[name].say({"say": ["It is 18."], "delay_s": 1.5})
    body = {**BODY, "model": "ensemble:vote:a+b+c"}
    assert http(open_house()).post(CHAT, json=body).text.startswith(": panel 0/3\n\n")


def test_usage_is_told_where_it_is_asked_for(open_house: Open, http: Http) -> None:
    client = http(open_house())
    body = {**BODY, "model": "ensemble:compare:a+b"}
    assert not any('"usage"' in each for each in events(client.post(CHAT, json=body).text))
    body["stream_options"] = {"include_usage": True}
    *_, last, done = events(client.post(CHAT, json=body).text)
    assert json.loads(last)["usage"]["completion_tokens"] == 8
    assert done == "[DONE]"


def test_a_failure_before_the_first_byte_has_a_status(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    for name in "ab":
        speakers[name].behave(mode="status", status=500)
    answer = http(open_house()).post(CHAT, json={**BODY, "model": "ensemble:vote:a+b"})
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-roundhouse-ensemble"] == "ensemble:vote:a+b"
    assert "0 of 2 answers" in answer.json()["error"]["message"]


def test_a_failure_after_heartbeats_is_an_event(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    speakers["b"].behave(mode="hang")
    house = open_house(
        ensembles={
            "both": {"kind": "vote", "members": ["a", "b"], "quorum": 2, "deadline": "1500ms"}
        }
    )
    answer = http(house).post(CHAT, json={**BODY, "model": "ensemble:both"})
    assert answer.status_code == 200
    assert answer.text.startswith(": panel 1/2\n\n")
    error, done = events(answer.text)
    assert json.loads(error)["error"]["code"] == "deadline_exceeded"
    assert done == "[DONE]"


def test_a_last_step_that_breaks_is_not_taken_back(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    """The client has seen the beginning of its answer, so nothing else can be the answer."""
    speakers["a"].say("It is 17.", "It is 18.")
    speakers["b"].say("It is 19 or so, I think.")
    speakers["b"].behave(mode="cut_stream", n=2)
    text = http(open_house()).post(CHAT, json={**BODY, "model": "cascade:a>b"}).text
    assert said(text) == "It is"
    assert json.loads(events(text)[-2])["error"]["code"] == "engine_failed"


def test_what_is_asked_of_members_counts_in_their_lanes(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    """A full lane refuses a member as it refuses any request."""
    speakers["a"].pace(token_rate=2)
    house = open_house(
        models={"a": {"max_in_flight": 1}},
        server={"max_queued": 1},
        ensembles={"each": {"kind": "vote", "members": ["a"], "samples": 5}},
    )
    speakers["a"].say("It is 18.", takes_n=False)
    body = {**BODY, "model": "ensemble:each", "stream": False, "routing": {"trace": True}}
    answer = http(house).post(CHAT, json=body)
    assert answer.status_code == 200
    trace = answer.json()["roundhouse"]
    assert trace["votes"] == {"18": 2.0}  # one at work, one in line, three refused
    assert trace["confidence"] == 0.4
