"""Other models, breakers, deadlines and second replicas, over engines that fail on demand."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import httpx2 as httpx
import openai
import pytest

from engines.base import EngineStatus, State
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask, contents, events, eventually
from tests.gateway.test_failures import error_of

Http = Callable[..., httpx.Client]
Fault = dict[str, Any]

QUICK = {"first_token_timeout": "300ms"}
TRIGGERS: list[tuple[Fault, str]] = [
    ({"mode": "hang"}, "timeout"),
    ({"mode": "cut_before_first_byte"}, "connection"),
    ({"mode": "cut_after_headers"}, "connection"),
    ({"mode": "out_of_memory"}, "out_of_memory"),
    ({"mode": "status", "status": 429}, "overloaded"),
    ({"mode": "status", "status": 503}, "overloaded"),
    ({"mode": "status", "status": 500}, "5xx"),
    ({"mode": "status", "status": 502}, "5xx"),
    ({"mode": "context_too_long"}, "context_too_long"),
    ({"mode": "error_event_first"}, "engine_dead"),
]


def named(value: Any) -> str:
    return "-".join(str(each) for each in value.values()) if isinstance(value, dict) else ""


def metric(client: httpx.Client, line: str) -> float:
    """One sample of the page, by its name and labels as they stand there."""
    found = [x for x in client.get("/metrics").text.split("\n") if x.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def breaker_of(client: httpx.Client, replica: str) -> float:
    return metric(client, f'roundhouse_breaker_state{{model="m",replica="{replica}"}}')


@pytest.fixture
def pair(build: Build, one: FakeEngine, two: FakeEngine) -> Callable[..., House]:
    """Model m on engine one, and model other, which stands in for it, on engine two."""

    def pair(**sections: dict[str, Any]) -> House:
        router = {"fallbacks": {"m": ["other"]}} | sections.pop("router", {})
        return build(one, models={"other": {"source": two.url}}, router=router, **sections)

    return pair


# Another model


@pytest.mark.parametrize(("fault", "trigger"), TRIGGERS, ids=named)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_another_model_answers(
    pair: Callable[..., House],
    one: FakeEngine,
    two: FakeEngine,
    http: Http,
    fault: Fault,
    trigger: str,
    path: str,
) -> None:
    one.behave(**fault)
    client = http(pair(defaults=QUICK))
    text = json.dumps(ask(stream=True, x="\u00fc", tool={"model": "m"}), indent=1)
    answer = client.post(path, content=text)
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-model"] == "other"
    assert answer.headers["x-roundhouse-replica"] == "other-0"
    assert answer.headers["x-roundhouse-route"] == f"by name; fallback from m: {trigger}"
    again = trigger == "connection"  # such a connection is tried once more
    assert answer.headers["x-roundhouse-attempts"] == ("3" if again else "2")
    assert two.stats()["last"]["body"] == text.replace('"model": "m"', '"model": "other"', 1)
    counted = f'roundhouse_fallbacks_total{{from="m",reason="{trigger}",to="other"}}'
    assert metric(client, counted) == 1
    assert metric(client, f'roundhouse_requests_total{{model="other",route="{path}",status="200"}}')


def test_another_model_answers_for_one_that_cannot_be_reached(
    build: Build, mortal: FakeEngine, two: FakeEngine, http: Http
) -> None:
    router = {"fallbacks": {"m": ["other"]}}
    client = http(build(mortal, models={"other": {"source": two.url}}, router=router))
    mortal.kill()
    seen = [client.post(CHAT, json=ask()).headers for _ in range(2)]
    assert [each["x-roundhouse-model"] for each in seen] == ["other", "other"]
    assert [each["x-roundhouse-route"].rpartition(" ")[2] for each in seen] == [
        "connection",
        "load_failed",
    ]


@pytest.mark.parametrize(
    ("code", "trigger"), [(None, "load_failed"), ("out_of_memory", "out_of_memory")]
)
def test_another_model_answers_for_one_that_did_not_load(
    pair: Callable[..., House], http: Http, code: str | None, trigger: str
) -> None:
    house = pair()
    house.report("m-0", EngineStatus(State.FAILED, error="no", error_code=code))
    answer = http(house).post(CHAT, json=ask())
    assert answer.headers["x-roundhouse-model"] == "other"
    assert answer.headers["x-roundhouse-attempts"] == "1"
    assert answer.headers["x-roundhouse-route"] == f"by name; fallback from m: {trigger}"


def test_another_model_answers_when_the_line_is_full(
    pair: Callable[..., House], one: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=1)
    house = pair(model={"max_in_flight": 1}, server={"max_queued": 0})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        answer = client.post(CHAT, json=ask())
    assert answer.headers["x-roundhouse-route"] == "by name; fallback from m: overloaded"


def test_openais_client_sees_who_answered(
    pair: Callable[..., House], one: FakeEngine, sdk: Callable[..., openai.OpenAI]
) -> None:
    one.behave(mode="out_of_memory")
    stream = sdk(pair()).chat.completions.create(**ask(), stream=True)
    parts = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "t0 t1 t2 "
    assert {part.model for part in parts} == {"other"}


def test_an_alias_falls_back_too(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="status")
    house = build(
        one,
        model={"aliases": ["gpt-4o-mini"]},
        models={"other": {"source": two.url}},
        router={"fallbacks": {"m": ["other"]}},
    )
    answer = http(house).post(CHAT, json=ask() | {"model": "gpt-4o-mini"})
    assert answer.headers["x-roundhouse-route"] == "alias of m; fallback from m: 5xx"
    assert answer.json()["model"] == "other"


def test_all_replicas_come_before_another_model(
    build: Build, engines: list[FakeEngine], http: Http
) -> None:
    one, two, three = engines
    for engine in (one, two):
        engine.behave(mode="status", status=500)
    models = {"other": {"source": three.url}}
    house = build(one, two, models=models, router={"fallbacks": {"m": ["other"]}})
    answer = http(house).post(CHAT, json=ask())
    assert answer.headers["x-roundhouse-attempts"] == "3"
    assert answer.headers["x-roundhouse-model"] == "other"


def chain(build: Build, engines: list[FakeEngine], http: Http) -> httpx.Client:
    one, two, three = engines
    models = {"other": {"source": two.url}, "org/model": {"source": three.url}}
    return http(build(one, models=models, router={"fallbacks": {"m": ["other", "org/model"]}}))


def test_the_list_is_gone_through_in_order(
    build: Build, engines: list[FakeEngine], http: Http
) -> None:
    engines[0].behave(mode="status", status=500)
    engines[1].behave(mode="out_of_memory")
    client = chain(build, engines, http)
    answer = client.post(CHAT, json=ask())
    assert answer.json()["model"] == "org/model"
    assert answer.headers["x-roundhouse-route"] == (
        "by name; fallback from m: 5xx; fallback from other: out_of_memory"
    )


def test_when_no_model_answers_the_first_ones_failure_is_told(
    build: Build, engines: list[FakeEngine], http: Http
) -> None:
    engines[0].behave(mode="out_of_memory")
    for engine in engines[1:]:
        engine.behave(mode="status", status=502)
    answer = chain(build, engines, http).post(CHAT, json=ask())
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["src"]) == (503, "out_of_memory", "engine")
    assert error["message"].startswith("replica m-0 failed: CUDA out of memory")
    assert [engine.stats()["requests"] for engine in engines] == [1, 1, 1]


def test_what_is_too_long_does_not_go_to_a_shorter_context(
    pair: Callable[..., House], one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    """m holds 2048 tokens here, other 4096."""
    two.behave(mode="context_too_long", n=0)
    client = http(pair(router={"fallbacks": {"other": ["m"]}}))
    answer = client.post(CHAT, json=ask() | {"model": "other"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("This model's maximum context length is 0")
    assert one.stats()["requests"] == 0
    two.behave(mode="status")
    helped = client.post(CHAT, json=ask() | {"model": "other"})
    assert helped.json()["model"] == "m", "but other failures do"


def test_an_answer_that_blames_the_request_is_final(
    pair: Callable[..., House], one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="status", status=422)
    assert http(pair()).post(CHAT, json=ask()).status_code == 422
    assert two.stats()["requests"] == 0


def test_a_broken_stream_is_not_handed_on(
    pair: Callable[..., House], one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=1)
    answer = http(pair()).post(CHAT, json=ask(stream=True))
    assert contents(answer.text) == "t0 "
    assert json.loads(events(answer.text)[-2])["error"]["code"] == "engine_disconnected"
    assert two.stats()["requests"] == 0


def test_only_named_triggers_lead_to_another_model(
    pair: Callable[..., House], one: FakeEngine, http: Http
) -> None:
    client = http(pair(router={"fallback": {"on": ["out_of_memory"]}}))
    one.behave(mode="status", status=500)
    assert client.post(CHAT, json=ask()).status_code == 502
    one.behave(mode="out_of_memory")
    assert client.post(CHAT, json=ask()).json()["model"] == "other"


def test_a_form_names_its_model_where_it_cannot_be_changed(
    pair: Callable[..., House], one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="status", path="/v1/audio/transcriptions")
    files = {"file": ("a.wav", b"RIFF"), "model": (None, "m")}
    answer = http(pair()).post("/v1/audio/transcriptions", files=files)
    assert (answer.status_code, error_of(answer)["code"]) == (502, "engine_failed")


# Retries


def test_only_named_triggers_are_tried_again(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(one, two, router={"retry": {"on": ["connection"]}}))
    one.behave(mode="status", status=500)
    assert client.post(CHAT, json=ask()).status_code == 502
    assert two.stats()["requests"] == 0


def test_when_the_budget_is_spent_failures_are_told(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = build(
        one,
        two,
        router={
            "policy": "round_robin",
            "breaker": {"failures": 99},
            "retry": {"budget": 0, "budget_min": 2, "budget_window": "1h"},
        },
    )
    one.behave(mode="status", status=500)
    client = http(house)
    codes = [client.post(CHAT, json=ask()).status_code for _ in range(12)]
    assert sorted(codes) == [200] * (12 - codes.count(502)) + [502] * codes.count(502)
    assert metric(client, 'roundhouse_retries_total{model="m",reason="500"}') == 2
    assert codes.count(502) == one.stats()["requests"] - 2 > 0


def test_a_busy_engine_is_asked_again_when_it_said_to(
    build: Build, one: FakeEngine, http: Http
) -> None:
    one.behave(mode="status", status=503, times=1, headers={"retry-after": "0.3"})
    began_s = time.monotonic()
    answer = http(build(one)).post(CHAT, json=ask())
    assert (answer.status_code, answer.headers["x-roundhouse-attempts"]) == (200, "2")
    assert time.monotonic() - began_s > 0.3


def test_failed_attempts_are_logged_with_the_requests_id(
    pair: Callable[..., House], one: FakeEngine, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    one.behave(mode="status", status=500)
    client = http(pair())
    with caplog.at_level(logging.WARNING, "gateway.forward"):
        client.post(CHAT, json=ask(), headers={"x-request-id": "mine"})
    assert [record.getMessage() for record in caplog.records] == [
        "request mine: attempt 1: replica m-0 failed: a fake fault",
        "request mine: other instead of m: replica m-0 failed: a fake fault",
    ]


# Deadlines


def test_past_the_deadline_the_request_is_over(build: Build, one: FakeEngine, http: Http) -> None:
    one.behave(mode="hang")
    house = build(one, router={"retry": {"deadline": "300ms"}})
    answer = http(house).post(CHAT, json=ask(stream=True))
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["src"]) == (504, "deadline_exceeded", "router")
    eventually(lambda: one.stats()["aborted"] == 1)
    assert house.dispatcher.replicas["m-0"].in_flight == 0


def test_the_deadline_holds_for_all_attempts_together(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    for engine in (one, two):
        engine.behave(mode="hang")
    router = {"retry": {"deadline": "700ms"}}
    house = build(one, two, router=router, defaults={"first_token_timeout": "400ms"})
    answer = http(house).post(CHAT, json=ask())
    assert error_of(answer)["code"] == "deadline_exceeded"
    assert "in attempt 2 " in error_of(answer)["message"]


def test_the_deadline_holds_in_the_line(build: Build, one: FakeEngine, http: Http) -> None:
    house = build(one, model={"max_in_flight": 1}, router={"retry": {"deadline": "300ms"}})
    lane = house.dispatcher.lanes["m"]
    house.call(lane.acquire())
    answer = http(house).post(CHAT, json=ask())
    assert error_of(answer)["code"] == "deadline_exceeded"
    assert (lane.queued, one.stats()["requests"]) == (0, 0)


def test_the_deadline_ends_a_stream_with_an_error_event(
    build: Build, one: FakeEngine, http: Http
) -> None:
    one.pace(token_rate=20)
    house = build(one, router={"retry": {"deadline": "500ms"}})
    answer = http(house).post(CHAT, json=ask(1000, stream=True))
    *_, event, done = events(answer.text)
    assert contents(answer.text).startswith("t0 t1 ")
    assert (json.loads(event)["error"]["code"], done) == ("deadline_exceeded", "[DONE]")
    eventually(lambda: one.stats()["aborted"] == 1)


# Breakers

BREAKER = {"failures": 2, "open": "400ms", "successes": 2}


@pytest.fixture
def breaking(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    return build(one, two, router={"breaker": BREAKER, "policy": "round_robin"}, defaults=QUICK)


@pytest.mark.parametrize(
    "fault",
    [fault for fault, trigger in TRIGGERS if trigger not in {"context_too_long", "overloaded"}]
    + [{"mode": "status", "status": 503}, {"mode": "cut_stream", "n": 1}],
    ids=named,
)
def test_failures_in_a_row_keep_requests_away(
    breaking: House, one: FakeEngine, http: Http, fault: Fault
) -> None:
    one.behave(**fault)
    client = http(breaking)
    breaker = breaking.dispatcher.replicas["m-0"].breaker
    for _ in range(20):
        client.post(CHAT, json=ask(stream=True))
        if not breaker.closed:
            break
    assert not breaker.closed
    asked = one.stats()["requests"]
    seen = [client.post(CHAT, json=ask()).headers["x-roundhouse-attempts"] for _ in range(3)]
    if one.stats()["requests"] == asked:  # else the open time was over already
        assert seen == ["1", "1", "1"]


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "status", "status": 400},
        {"mode": "status", "status": 404},
        {"mode": "status", "status": 429},
        {"mode": "context_too_long"},
    ],
    ids=named,
)
def test_what_is_no_fault_of_the_engine_opens_nothing(
    breaking: House, one: FakeEngine, http: Http, fault: Fault
) -> None:
    one.behave(**fault)
    client = http(breaking)
    for _ in range(8):
        client.post(CHAT, json=ask())
    assert one.stats()["requests"] >= 4
    assert breaker_of(client, "m-0") == 0


def test_clients_that_hang_up_open_nothing(breaking: House, one: FakeEngine, http: Http) -> None:
    one.behave(mode="stall_after", n=1)
    client = http(breaking)
    for _ in range(8):
        with client.stream("POST", CHAT, json=ask(stream=True)) as answer:
            next(answer.iter_raw())
    eventually(lambda: one.stats()["aborted"] == 4)
    assert breaker_of(client, "m-0") == 0


def test_a_breaker_goes_from_closed_to_open_to_half_open_to_closed(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    config = {"failures": 2, "open": "1s", "successes": 2}
    house = build(one, two, router={"breaker": config, "policy": "round_robin"})
    client = http(house)
    one.behave(mode="status", status=500, times=2)

    assert breaker_of(client, "m-0") == 0
    while house.dispatcher.replicas["m-0"].breaker.closed:
        assert client.post(CHAT, json=ask()).status_code == 200
    assert breaker_of(client, "m-0") == 2
    eventually(lambda: breaker_of(client, "m-0") == 1)
    replicas = [client.post(CHAT, json=ask()).headers["x-roundhouse-replica"] for _ in range(4)]
    assert replicas.count("m-0") == 2
    assert breaker_of(client, "m-0") == 0


def test_a_failed_probe_opens_it_again(breaking: House, one: FakeEngine, http: Http) -> None:
    one.behave(mode="status", status=500)
    client = http(breaking)
    breaker = breaking.dispatcher.replicas["m-0"].breaker
    while breaker.closed:
        client.post(CHAT, json=ask())
    first = breaker.opened_at
    eventually(lambda: client.post(CHAT, json=ask()).is_success and breaker.opened_at > first)
    assert not breaker.closed


def test_when_all_breakers_are_open_requests_are_still_tried(
    build: Build, one: FakeEngine, http: Http
) -> None:
    one.behave(mode="status", status=500, times=3)
    client = http(build(one, router={"breaker": {"failures": 1, "open": "1h", "successes": 1}}))
    codes = [client.post(CHAT, json=ask()).status_code for _ in range(5)]
    assert codes == [502, 502, 502, 200, 200]
    assert breaker_of(client, "m-0") == 0


# A second replica for a late first byte


class Hedging(Protocol):
    def __call__(self, warm: int = 60) -> House: ...


@pytest.fixture
def hedging(build: Build, one: FakeEngine, two: FakeEngine, http: Http) -> Hedging:
    """A house that knows what is late, as many streams have gone before. m-0 and m-1 take turns."""

    def hedging(warm: int = 60) -> House:
        hedge = {"enabled": True, "min_wait": "150ms"}
        house = build(
            one,
            two,
            router={"hedge": hedge, "policy": "round_robin"},
            defaults={"first_token_timeout": "2s"},
        )
        client = http(house)
        for _ in range(warm):
            client.post(CHAT, json=ask(1, stream=True))
        for engine in (one, two):
            eventually(lambda engine=engine: engine.stats()["in_flight"] == 0)
            engine.reset()
        return house

    return hedging


def all_free(house: House) -> bool:
    return all(replica.in_flight == 0 for replica in house.dispatcher.replicas.values())


def test_the_second_replica_answers_for_a_late_first(
    hedging: Hedging, one: FakeEngine, http: Http
) -> None:
    house = hedging()
    one.behave(mode="slow_first_token", seconds=9)
    client = http(house)
    answer = client.post(CHAT, json=ask(stream=True))
    assert contents(answer.text) == "t0 t1 t2 "
    assert answer.headers["x-roundhouse-replica"] == "m-1"
    assert answer.headers["x-roundhouse-attempts"] == "2"
    eventually(lambda: one.stats()["aborted"] == 1)
    assert metric(client, 'roundhouse_hedges_total{model="m",won="second"}') == 1
    assert breaker_of(client, "m-0") == 0
    assert all_free(house)


def test_the_first_may_still_win_and_the_second_is_stopped(
    hedging: Hedging, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = hedging()
    one.behave(mode="slow_first_token", seconds=0.6)
    two.behave(mode="slow_first_token", seconds=9)
    client = http(house)
    answer = client.post(CHAT, json=ask(stream=True))
    assert contents(answer.text) == "t0 t1 t2 "
    assert answer.headers["x-roundhouse-replica"] == "m-0"
    eventually(lambda: two.stats()["aborted"] == 1)
    assert metric(client, 'roundhouse_hedges_total{model="m",won="first"}') == 1
    assert all_free(house)


def test_a_second_that_fails_does_not_win(
    hedging: Hedging, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = hedging()
    one.behave(mode="slow_first_token", seconds=0.6)
    two.behave(mode="status", status=500)
    answer = http(house).post(CHAT, json=ask(stream=True))
    assert contents(answer.text) == "t0 t1 t2 "
    assert answer.headers["x-roundhouse-replica"] == "m-0"
    assert two.stats()["requests"] == 1
    assert all_free(house)


def test_when_both_are_silent_the_error_is_typed(
    hedging: Hedging, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = hedging()
    for engine in (one, two):
        engine.behave(mode="hang")
    answer = http(house).post(CHAT, json=ask(stream=True))
    assert (answer.status_code, error_of(answer)["code"]) == (504, "engine_timeout")
    for engine in (one, two):
        eventually(lambda engine=engine: engine.stats()["aborted"] == 1)
    assert all_free(house)


def test_a_client_that_hangs_up_stops_both(
    hedging: Hedging, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = hedging()
    for engine in (one, two):
        engine.behave(mode="hang")
    with pytest.raises(httpx.ReadTimeout):
        http(house, timeout=0.8).post(CHAT, json=ask(stream=True))
    for engine in (one, two):
        eventually(lambda engine=engine: engine.stats()["aborted"] == 1)
    eventually(lambda: all_free(house))


def test_second_requests_are_a_small_share(
    hedging: Hedging, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(hedging())
    for engine in (one, two):
        engine.behave(mode="slow_first_token", seconds=0.3)
    for _ in range(12):
        client.post(CHAT, json=ask(stream=True))
    sent = one.stats()["requests"] + two.stats()["requests"]
    assert 12 < sent <= 12 + 0.05 * 72


@pytest.mark.parametrize(("warm", "stream"), [(60, False), (20, True)])
def test_whole_answers_are_not_hedged_nor_anything_before_it_is_known_what_is_late(
    hedging: Hedging, one: FakeEngine, http: Http, warm: int, stream: bool
) -> None:
    client = http(hedging(warm))
    one.behave(mode="slow_first_token", seconds=0.4)
    answer = client.post(CHAT, json=ask(stream=stream))
    assert answer.headers["x-roundhouse-replica"] == "m-0"
    assert answer.headers["x-roundhouse-attempts"] == "1"


def test_without_being_asked_for_nothing_is_hedged(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(one, two))
    for _ in range(60):
        client.post(CHAT, json=ask(1, stream=True))
    for engine in (one, two):
        engine.behave(mode="slow_first_token", seconds=0.4)
    assert client.post(CHAT, json=ask(stream=True)).headers["x-roundhouse-attempts"] == "1"
