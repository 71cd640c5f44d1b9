"""How an ensemble is asked for, and where it is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open
from tests.gateway.house import CHAT

Http = Callable[..., httpx.Client]
Speakers = dict[str, FakeSpeaker]
ASKED: Any = [{"role": "user", "content": "Write a function that adds 9 and 9 in Python."}]
COUNCIL = {"council": {"kind": "vote", "members": ["a", "b", "c"], "budget": {"tokens": 5000}}}


def ask(http: Http, open_house: Open, **body: Any) -> httpx.Response:
    house = open_house(ensembles=COUNCIL)
    return http(house).post(CHAT, json={"messages": ASKED, **body})


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"model": "ensemble:council"}, "ensemble:council"),
        ({"model": "a", "routing": {"ensemble": "council"}}, "ensemble:council"),
        ({"model": "ensemble:vote:3:b"}, "ensemble:vote:3:b"),
        ({"model": "cascade:a>b"}, "cascade:a>b"),
        ({"routing": {"ensemble": {"kind": "compare", "members": ["a", "b"]}}}, "ensemble:compare"),
    ],
)
def test_the_ways_to_ask(open_house: Open, http: Http, body: dict[str, Any], name: str) -> None:
    answer = ask(http, open_house, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-roundhouse-ensemble"] == name


def test_openrouters_plugin_is_understood(open_house: Open, http: Http) -> None:
    plugin = {"id": "fusion", "analysis_models": ["a", "b"], "model": "c"}
    answer = ask(http, open_house, model="a", plugins=[plugin])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-roundhouse-ensemble"] == "ensemble:fuse"
    assert answer.headers["x-roundhouse-model"] == "c"


def test_other_plugins_are_none_of_ours(open_house: Open, http: Http) -> None:
    answer = ask(http, open_house, model="a", plugins=[{"id": "web"}])
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-model"] == "a"
    assert "x-roundhouse-ensemble" not in answer.headers


def test_auto_as_a_member_is_the_model_of_the_task(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    house = open_house(models={"b": {"tasks": ["code"]}})
    body = {"model": "ensemble:vote:3", "messages": ASKED, "routing": {"trace": True}}
    answer = http(house).post(CHAT, json=body)
    assert answer.headers["x-roundhouse-model"] == "b"
    assert [call["model"] for call in answer.json()["roundhouse"]["calls"]] == ["b"]
    (asked,) = speakers["b"].bodies()
    assert (asked["model"], asked["n"], asked["stream"]) == ("b", 3, True)


def test_an_alias_is_a_member(open_house: Open, http: Http) -> None:
    house = open_house(models={"b": {"aliases": ["bee"]}})
    body = {"model": "ensemble:compare:a+bee+c", "messages": ASKED, "routing": {"trace": True}}
    told = http(house).post(CHAT, json=body).json()["roundhouse"]
    assert [call["member"] for call in told["calls"]] == ["a", "bee", "c"]
    assert told["calls"][1]["model"] == "b"


def test_they_are_listed(open_house: Open, http: Http) -> None:
    client = http(open_house(ensembles=COUNCIL))
    listed = {model["id"]: model for model in client.get("/v1/models").json()["data"]}
    told = listed["ensemble:council"]
    assert told["ensemble"] == {"kind": "vote", "members": ["a", "b", "c"]}
    assert told["ready"]
    assert client.get("/v1/models/ensemble:council").json() == told
    assert client.get("/v1/models/ensemble:none").status_code == 404


def test_keys_hold_for_them(open_house: Open, http: Http, monkeypatch: Any) -> None:
    house = open_house(server={"api_keys": ["k" * 20]})
    body = {"model": "ensemble:vote:a+b", "messages": ASKED}
    assert http(house).post(CHAT, json=body).status_code == 401
    headers = {"authorization": f"Bearer {'k' * 20}"}
    assert http(house).post(CHAT, json=body, headers=headers).status_code == 200


def test_the_plan_is_told_before_it_runs(open_house: Open, http: Http, speakers: Speakers) -> None:
    price = {"input": 1.0, "output": 2.0}
    house = open_house(models={name: {"price": price} for name in "abc"}, ensembles=COUNCIL)
    body = {"model": "ensemble:council", "prompt": "What is 9 + 9?", "max_tokens": 100}
    plan = http(house).post("/v1/route", json=body).json()
    assert plan["kind"] == "vote"
    assert plan["requests_at_most"] == 3
    assert plan["output_tokens_at_most"] == 300
    assert plan["budget_tokens"] == 5000
    assert [member["model"] for member in plan["members"]] == ["a", "b", "c"]
    assert all(member["ready"] for member in plan["members"])
    assert sum(speaker.stats()["requests"] for speaker in speakers.values()) == 0
    no_limit = http(house).post("/v1/route", json={**body, "max_tokens": None}).json()
    assert no_limit["output_tokens_at_most"] is None


def test_the_plan_knows_whom_auto_would_take(open_house: Open, http: Http) -> None:
    house = open_house(models={"c": {"tasks": ["code"]}})
    plan = http(house).post("/v1/route", json={"model": "ensemble:vote:3", "messages": ASKED})
    (member,) = plan.json()["members"]
    assert (member["model"], member["samples"]) == ("c", 3)


def test_who_answered_is_known_of_a_call_that_was_not_let_to_its_end(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    """Two of three samples settle it, and then the call is cancelled."""
    house = open_house(models={"b": {"tasks": ["code"]}})
    speakers["b"].say("18", "18", "It is, if one thinks long enough about it, rather 19.")
    speakers["b"].pace(token_rate=10)
    body = {"model": "ensemble:vote:3", "messages": ASKED, "routing": {"trace": True}}
    answer = http(house).post(CHAT, json=body)
    assert answer.json()["roundhouse"]["calls"][0]["fate"] == "cancelled"
    assert answer.json()["model"] == "b"


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        ({"trace": True}, "routing.trace: only ensembles have one"),
        ({"tusk": "code"}, "routing.tusk: unknown; allowed: task, strategy, keep_alive, and"),
    ],
)
def test_auto_alone_has_no_trace(
    open_house: Open, http: Http, routing: dict[str, Any], said: str
) -> None:
    body = {"model": "auto", "messages": ASKED, "routing": routing}
    answer = http(open_house()).post(CHAT, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_an_ensemble_that_is_switched_off_is_none(open_house: Open, http: Http) -> None:
    routing = {"ensemble": None, "trace": False}
    body = {"model": "auto", "messages": ASKED, "routing": routing}
    answer = http(open_house()).post(CHAT, json=body)
    assert answer.status_code == 200
    assert "x-roundhouse-ensemble" not in answer.headers
