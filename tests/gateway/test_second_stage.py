"""The second stage through the whole gateway: who is asked, in what time, and who has the word."""

from __future__ import annotations

import json
import math
import time
from contextlib import closing
from typing import Any

import pytest

from common.config import Config
from router.breaker import BreakerState
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, eventually
from tests.gateway.test_hangups import request

# Not creative, as the judge says it is.
VAGUE = "Grnbl the frobs."
CLEAR = "Write a Python function that reverses a linked list."
JUDGE = "org/model"
SYSTEMONE = "/v1/systemone"
Labels = dict[str, float]


def letters(**shares: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    return {"choices": [{"logprobs": {"content": [{"token": "A", "top_logprobs": top}]}}]}


def decision(mass: float = 0.9, **shares: float) -> dict[str, Any]:
    return {
        "answers": {"task": {"probabilities": shares}},
        "diagnostics": {"task": {"label_mass": mass}},
    }


def says(engine: FakeEngine, body: dict[str, Any], path: str = CHAT) -> None:
    engine.behave(mode="status", status=200, body=body, path=path)


@pytest.fixture
def judge(engines: list[FakeEngine]) -> FakeEngine:
    """It has no /v1/systemone, and gives the letter of creative tasks."""
    says(engines[2], letters(F=0.8, B=0.1))
    return engines[2]


@pytest.fixture
def shed(build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine) -> House:
    return shed_with(build, one, two, judge)


def shed_with(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine, **stage: Any
) -> House:
    """`m` is good at code and at what is general, `other` at poems, and the judge at nothing."""
    poet = {"code": 0.1, "creative": 0.9, "general": 0.1}
    return build(
        one,
        model={"quality": {"code": 0.9, "creative": 0.1, "general": 0.5}},
        models={
            "other": {"source": two.url, "quality": poet},
            JUDGE: {"source": judge.url, "quality": dict.fromkeys(poet, 0.0)},
        },
        router={
            "strategy": "quality",
            "second_stage": {"model": JUDGE, "below": 1.0, "deadline": "5s"} | stage,
            "conversations": {"switch_confidence": 1.0},
        },
    )


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


def outcomes(house: House) -> dict[str, float]:
    registry = house.gateway.metrics.registry
    return {
        kind: count
        for kind in ("used", "late", "failed", "unsure")
        if (
            count := registry.get_sample_value(
                "roundhouse_second_stage_total", {"model": JUDGE, "outcome": kind}
            )
        )
    }


def test_it_names_the_task_where_the_rules_are_not_sure(
    shed: House, http: Any, judge: FakeEngine
) -> None:
    answer = http(shed).post(CHAT, json=chat(VAGUE))
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-model"] == "other"
    assert answer.headers["x-roundhouse-task"] == "creative"
    assert "second stage" in answer.headers["x-roundhouse-route"]
    assert outcomes(shed) == {"used": 1}
    asked = json.loads(judge.stats()["last"]["body"])
    assert (asked["model"], asked["max_tokens"], asked["top_logprobs"]) == (JUDGE, 1, 20)
    assert VAGUE in asked["messages"][-1]["content"]
    registry = shed.gateway.metrics.registry
    labels = {"task": "creative", "model": "other", "reason": "second-stage"}
    assert registry.get_sample_value("roundhouse_route_decisions_total", labels) == 1


@pytest.mark.parametrize(
    "body",
    [
        chat(VAGUE, model="auto:code"),
        chat(VAGUE, routing={"task": "code"}),
        chat(CLEAR),
        chat(VAGUE, model="m"),
    ],
    ids=["named by the model", "named by routing", "the rules are sure", "no auto"],
)
def test_it_is_not_asked_in_vain(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine, http: Any, body: Any
) -> None:
    house = shed_with(build, one, two, judge, below=0.9)
    assert http(house).post(CHAT, json=body).headers["x-roundhouse-model"] == "m"
    assert judge.stats()["requests"] == 0
    assert outcomes(house) == {}


def test_a_conversation_that_stays_asks_once(shed: House, http: Any, judge: FakeEngine) -> None:
    client = http(shed)
    client.post(CHAT, json=chat(VAGUE))
    turns = [*chat(VAGUE)["messages"], {"role": "assistant", "content": "Grn."}]
    again = chat(VAGUE) | {"messages": [*turns, {"role": "user", "content": "and the rest"}]}
    assert client.post(CHAT, json=again).headers["x-roundhouse-model"] == "other"
    assert outcomes(shed) == {"used": 1}


def test_systemone_where_the_engine_has_it(shed: House, http: Any, judge: FakeEngine) -> None:
    says(judge, decision(creative=0.9, code=0.1), SYSTEMONE)
    assert http(shed).post(CHAT, json=chat(VAGUE)).headers["x-roundhouse-model"] == "other"
    assert outcomes(shed) == {"used": 1}
    assert judge.stats()["requests"] == 0, "no chat was needed"


def test_an_engine_without_systemone_is_asked_for_it_once(
    shed: House, http: Any, judge: FakeEngine
) -> None:
    judge.behave(mode="status", status=501, path=SYSTEMONE)
    client = http(shed)
    for n in range(3):
        client.post(CHAT, json=chat(f"{VAGUE} {n}"))
    assert outcomes(shed) == {"used": 3}
    assert judge.stats()["played"] == {"status": 1 + 3}
    assert house_breaker(shed) is BreakerState.CLOSED, "to have no such route is no failure"


def test_too_little_on_the_labels_leaves_the_rules_their_word(
    shed: House, http: Any, judge: FakeEngine
) -> None:
    says(judge, letters(The=0.9, F=0.05))
    answer = http(shed).post(CHAT, json=chat(VAGUE))
    assert answer.headers["x-roundhouse-task"] == "general"
    assert "second stage" not in answer.headers["x-roundhouse-route"]
    assert outcomes(shed) == {"unsure": 1}


def test_past_the_deadline_the_rules_have_the_word(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine, http: Any
) -> None:
    judge.behave(mode="hang", path=CHAT)
    house = shed_with(build, one, two, judge, deadline="100ms")
    began = time.monotonic()
    answer = http(house).post(CHAT, json=chat(VAGUE))
    assert 0.1 < time.monotonic() - began < 3
    assert answer.headers["x-roundhouse-task"] == "general"
    assert outcomes(house) == {"late": 1}
    eventually(lambda: judge.stats()["in_flight"] == 0)
    assert judge.stats()["aborted"] == 1, "the engine is freed"
    assert house.dispatcher.replicas[f"{JUDGE}-0"].in_flight == 0
    assert house_breaker(house) is BreakerState.CLOSED, "to be slow for us is no failure"


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "status", "status": 500},
        {"mode": "cut_before_first_byte"},
        {"mode": "status", "status": 429},
    ],
    ids=str,
)
def test_when_it_fails_the_rules_have_the_word(
    shed: House, http: Any, judge: FakeEngine, fault: dict[str, Any]
) -> None:
    judge.behave(**fault, path=CHAT)
    answer = http(shed).post(CHAT, json=chat(VAGUE))
    assert (answer.status_code, answer.headers["x-roundhouse-task"]) == (200, "general")
    assert outcomes(shed) == {"failed": 1}
    assert shed.dispatcher.replicas[f"{JUDGE}-0"].in_flight == 0


def test_its_failures_open_its_breaker(shed: House, http: Any, judge: FakeEngine) -> None:
    judge.behave(mode="status", status=500, path=CHAT)
    client = http(shed)
    for n in range(5):
        client.post(CHAT, json=chat(f"{VAGUE} {n}"))
    assert house_breaker(shed) is BreakerState.OPEN


def test_a_judge_that_is_down_leaves_the_rules_their_word(shed: House, http: Any) -> None:
    shed.report(f"{JUDGE}-0", None)
    assert http(shed).post(CHAT, json=chat(VAGUE)).headers["x-roundhouse-task"] == "general"
    assert outcomes(shed) == {"failed": 1}


def test_a_judge_that_is_full_is_late(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine, http: Any
) -> None:
    """It waits in the model's own line, and leaves it at the deadline."""
    house = shed_with(build, one, two, judge, deadline="100ms")
    lane = house.dispatcher.lanes[JUDGE]
    lane.replicas[0].max_in_flight = 0
    assert http(house).post(CHAT, json=chat(VAGUE)).status_code == 200
    assert outcomes(house) == {"late": 1}
    assert (lane.queued, lane.replicas[0].in_flight) == (0, 0)


def test_a_client_that_hangs_up_ends_the_question(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine
) -> None:
    judge.behave(mode="hang", path=CHAT)
    house = shed_with(build, one, two, judge, deadline="60s")
    with closing(request(house, chat(VAGUE))):
        eventually(lambda: judge.stats()["in_flight"] == 1)
    eventually(lambda: judge.stats()["aborted"] == 1)
    eventually(lambda: house.dispatcher.replicas[f"{JUDGE}-0"].in_flight == 0)
    assert one.stats()["requests"] + two.stats()["requests"] == 0
    assert outcomes(house) == {}
    registry = house.gateway.metrics.registry
    hang_ups = "roundhouse_client_disconnects_total"
    assert registry.get_sample_value(hang_ups, {"model": ""}) == 1


def test_to_drain_waits_for_a_question(
    build: Build, one: FakeEngine, two: FakeEngine, judge: FakeEngine
) -> None:
    judge.behave(mode="hang", path=CHAT)
    house = shed_with(build, one, two, judge, deadline="500ms")
    one.pace(first_token_delay_s=0.2)
    with closing(request(house, chat(VAGUE))) as client:
        eventually(lambda: judge.stats()["in_flight"] == 1)
        assert house.call(house.gateway.drain(20)) is True
        assert client.recv(12) == b"HTTP/1.1 200"


def test_the_route_is_told_without_asking_it(shed: House, http: Any, judge: FakeEngine) -> None:
    told = http(shed).post("/v1/route", json={"prompt": VAGUE}).json()
    assert (told["task"], told["second_stage"]) == ("general", JUDGE)
    assert (
        http(shed).post("/v1/route", json=chat(VAGUE, model="auto:code")).json()["second_stage"]
        is None
    )
    assert judge.stats()["requests"] == 0


def test_off_by_default_and_only_for_models_that_there_are() -> None:
    models = {"m": {"source": "x"}}
    assert Config.model_validate({"models": models}).router.second_stage is None
    with pytest.raises(
        ValueError, match=r"router\.second_stage\.model: no model 'n'; there are: m"
    ):
        Config.model_validate({"models": models, "router": {"second_stage": {"model": "n"}}})


def house_breaker(house: House) -> BreakerState:
    return house.dispatcher.replicas[f"{JUDGE}-0"].breaker.state(time.perf_counter())
