"""Samples of one model: one request where the engine takes `n`, else as many requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.conftest import Build
from tests.gateway.ensembles.conftest import Open
from tests.gateway.house import CHAT, House

Http = Callable[..., httpx.Client]
Speakers = dict[str, FakeSpeaker]
BODY: Any = {
    "model": "ensemble:vote:5:a",
    "messages": [{"role": "user", "content": "What is 9 + 9?"}],
    "routing": {"trace": True},
}
MIXED = ("It is 17.", "It is 18.", "It is 18.", "It is 19.", "It is 18.")


def told(http: Http, house: House, **more: Any) -> dict[str, Any]:
    answer = http(house).post(CHAT, json={**BODY, **more})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "It is 18."
    trace: dict[str, Any] = answer.json()["roundhouse"]
    return trace


def test_one_request_with_n(open_house: Open, http: Http, speakers: Speakers) -> None:
    speakers["a"].say(*MIXED)
    trace = told(http, open_house())
    (asked,) = speakers["a"].bodies()
    assert asked["n"] == 5
    assert asked["temperature"] == 0.7
    assert trace["requests"] == 5


def test_an_engine_that_refuses_n_is_asked_once_for_each(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    speakers["a"].say(*MIXED, takes_n=False)
    house = open_house()
    told(http, house, seed=7)
    first, *singles = speakers["a"].bodies()
    assert first["n"] == 5
    assert len(singles) == 5
    assert all("n" not in single for single in singles)
    assert sorted(single["seed"] for single in singles) == [7, 8, 9, 10, 11]
    told(http, house)  # it is not tried again
    assert [body.get("n") for body in speakers["a"].bodies()].count(5) == 1


def test_an_engine_that_overlooks_n_is_asked_for_the_rest(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    speakers["a"].say(*MIXED, ignores_n=True)
    trace = told(http, open_house())
    assert [body.get("n") for body in speakers["a"].bodies()] == [5, None, None, None, None]
    assert trace["votes"]["18"] >= 2.0


def test_at_temperature_0_n_is_not_asked_for(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    speakers["a"].say(*MIXED)
    told(http, open_house(), temperature=0)
    assert all("n" not in body for body in speakers["a"].bodies())


def test_samples_go_to_one_replica(build: Build, http: Http, speakers: Speakers) -> None:
    """Their prompt is in its cache then."""
    sources = [speakers["a"].url, speakers["b"].url]
    for name in ("a", "b"):
        speakers[name].say(*MIXED)
    house = build(models={"a": {"source": sources}})
    answer = http(house).post(CHAT, json=BODY)
    assert answer.status_code in (200, 502)  # the second speaker knows no model a
    asked = sorted(len(speakers[name].bodies()) for name in ("a", "b"))
    assert asked == [0, 1]
