"""Streams that break after their first byte: another replica goes on, and the client sees one."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask, contents, events, eventually
from tests.gateway.raw import CHUNKED, RawEngine, chunk, raw_engine
from tests.gateway.test_faults import metric
from tests.gateway.test_hangups import request

Http = Callable[..., httpx.Client]
Sdk = Callable[..., openai.OpenAI]
Fault = dict[str, Any]

ON = {"policy": "least_loaded", "resume": {"enabled": True}}
BREAKS: list[Fault] = [
    {"mode": "cut_stream", "n": 2},
    {"mode": "stall_after", "n": 2},
    {"mode": "error_event_after", "n": 2},
]
STALL = {"stall_timeout": "300ms"}
CONTENT = "t0 t1 t2 t3 t4 t5 "


def named(fault: Any) -> str:
    return fault["mode"] if isinstance(fault, dict) and "mode" in fault else ""


def resumes(client: httpx.Client, outcome: str) -> float:
    return metric(client, f'roundhouse_resumes_total{{model="m",outcome="{outcome}"}}')


def body_of(engine: FakeEngine) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(engine.stats()["last"]["body"])
    return body


def error_in(text: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(events(text)[-2])["error"]
    assert events(text)[-1] == "[DONE]"
    return error


@pytest.fixture
def pair(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    return build(one, two, router=ON, defaults=STALL)


@pytest.mark.parametrize("fault", BREAKS, ids=named)
def test_openais_client_sees_one_answer(
    pair: House, one: FakeEngine, two: FakeEngine, sdk: Sdk, http: Http, fault: Fault
) -> None:
    one.behave(**fault)
    options = {"include_usage": True}
    stream = sdk(pair).chat.completions.create(**ask(6), stream=True, stream_options=options)
    *parts, last = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == CONTENT
    assert [part.choices[0].delta.role for part in parts] == ["assistant"] + [None] * 6
    assert [part.choices[0].finish_reason for part in parts] == [None] * 6 + ["length"]
    assert {(part.id, part.created, part.model, part.system_fingerprint) for part in parts} == {
        (parts[0].id, parts[0].created, "m", "one")
    }
    asked = body_of(two)
    assert asked["messages"] == [*ask()["messages"], {"role": "assistant", "content": "t0 t1"}]
    assert (asked["add_generation_prompt"], asked["continue_final_message"]) == (False, True)
    assert asked["max_tokens"] == 4
    assert last.usage is not None
    assert last.usage.completion_tokens == 6
    assert last.usage.prompt_tokens == len(two.stats()["last"]["body"]) // 4 - 2
    assert last.usage.total_tokens == last.usage.prompt_tokens + 6
    eventually(lambda: resumes(http(pair), "completed") == 1)
    assert metric(http(pair), 'roundhouse_broken_streams_total{model="m"}') == 0


def test_the_seam_is_marked_and_the_end_comes_once(
    pair: House, one: FakeEngine, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    one.behave(mode="cut_stream", n=2)
    with caplog.at_level(logging.WARNING, "gateway"):
        answer = http(pair).post(CHAT, json=ask(6, stream=True), headers={"x-request-id": "mine"})
    assert contents(answer.text) == CONTENT
    assert ": resumed on replica m-1 after 6 characters\n\n" in answer.text
    assert answer.text.count("[DONE]") == 1
    assert answer.text.endswith("data: [DONE]\n\n")
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("request mine: attempt 1: replica m-0 broke off its answer: ")
    assert told[1:] == ["request mine: attempt 2: resumed on replica m-1 after 6 characters"]
    assert [replica.in_flight for replica in pair.dispatcher.replicas.values()] == [0, 0]


def test_the_one_that_broke_is_not_asked_for_the_rest(
    pair: House, one: FakeEngine, http: Http
) -> None:
    """Not even where the policy would rather have it."""
    one.behave(mode="cut_stream", n=2)
    pair.dispatcher.replicas["m-1"].served = 99
    assert contents(http(pair).post(CHAT, json=ask(6, stream=True)).text) == CONTENT
    assert one.stats()["requests"] == 1


def test_completions_go_on_with_their_prompt(
    pair: House, one: FakeEngine, two: FakeEngine, sdk: Sdk
) -> None:
    one.behave(mode="cut_stream", n=2)
    stream = sdk(pair).completions.create(model="m", prompt="Count: ", max_tokens=6, stream=True)
    assert "".join(part.choices[0].text for part in stream) == CONTENT
    assert (body_of(two)["prompt"], body_of(two)["max_tokens"]) == ("Count: t0 t1 ", 4)


def test_a_completion_without_a_limit_keeps_the_engines_own(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=2)
    body = {"model": "m", "prompt": "Count: ", "stream": True}
    http(pair).post("/v1/completions", json=body)
    assert body_of(two)["max_tokens"] == 14


def test_where_nothing_was_said_the_request_is_sent_again_as_it_was(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=0)
    answer = http(pair).post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text) == CONTENT
    assert answer.text.count('"role"') == 1
    assert body_of(two) == ask(6, stream=True)


def delta(content: str) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    head = {"id": "chatcmpl-raw", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(head, ensure_ascii=False).encode() + b"\n\n"


@pytest.fixture
def cut_in_a_letter() -> Iterator[RawEngine]:
    """Says 안녕, and half of the event that says 하세요, up to within the letter 세."""
    event = delta("하세요")
    half = event[: event.index("세".encode()) + 1]
    with raw_engine(CHUNKED + chunk(delta("안녕")), chunk(half)) as engine:
        yield engine


def test_half_a_letter_is_not_said(
    build: Build, cut_in_a_letter: RawEngine, two: FakeEngine, http: Http
) -> None:
    house = build(models={"m": {"source": [cut_in_a_letter.url, two.url]}}, router=ON)
    answer = http(house).post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text).startswith("안녕t0 t1 ")
    assert "after 2 characters" in answer.text
    assert {json.loads(e)["id"] for e in events(answer.text)[:-1]} == {"chatcmpl-raw"}
    assert body_of(two)["messages"][-1]["content"] == "안녕"


def test_an_answer_that_ends_early_without_saying_so_is_broken_too(
    build: Build, two: FakeEngine, http: Http
) -> None:
    with raw_engine(CHUNKED + chunk(delta("안녕")) + b"0\r\n\r\n") as engine:
        house = build(models={"m": {"source": [engine.url, two.url]}}, router=ON)
        answer = http(house).post(CHAT, json=ask(2, stream=True))
    assert contents(answer.text) == "안녕t0 "


def test_a_whole_text_without_its_end_is_given_one(
    build: Build, two: FakeEngine, http: Http
) -> None:
    last = delta("안녕").replace(b"null}", b'"stop"}')
    with raw_engine(CHUNKED + chunk(last)) as engine:
        house = build(models={"m": {"source": [engine.url, two.url]}}, router=ON)
        answer = http(house).post(CHAT, json=ask(6, stream=True))
    assert answer.text.encode() == last + b"data: [DONE]\n\n"
    assert two.stats()["requests"] == 0


@pytest.mark.parametrize("second", BREAKS[:2], ids=named)
def test_a_third_replica_goes_on_after_the_second(
    build: Build, engines: list[FakeEngine], http: Http, second: Fault
) -> None:
    engines[0].behave(mode="cut_stream", n=2)
    engines[1].behave(**second)
    client = http(build(*engines, router=ON, defaults=STALL))
    answer = client.post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text) == CONTENT
    assert answer.text.count(": resumed on") == 2
    assert body_of(engines[2])["max_tokens"] == 2
    assert (resumes(client, "failed"), resumes(client, "completed")) == (1, 1)


def test_no_more_than_max_are_asked(build: Build, engines: list[FakeEngine], http: Http) -> None:
    for engine in engines[:2]:
        engine.behave(mode="cut_stream", n=2)
    client = http(build(*engines, router=ON | {"resume": {"enabled": True, "max": 1}}))
    answer = client.post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text.partition('data: {"error"')[0]) == "t0 t1 t2 t3 "
    assert error_in(answer.text)["code"] == "engine_disconnected"
    assert engines[2].stats()["requests"] == 0
    assert (resumes(client, "failed"), resumes(client, "nobody")) == (1, 1)


@pytest.mark.parametrize(
    "refusal",
    [
        {"mode": "status", "status": 400},
        {"mode": "status", "status": 503},
        {"mode": "status", "status": 200},
        {"mode": "cut_before_first_byte"},
        {"mode": "error_event_first"},
        {"mode": "hang"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_when_nobody_goes_on_the_first_failure_is_told(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http, refusal: Fault
) -> None:
    one.behave(mode="cut_stream", n=2)
    two.behave(**refusal)
    answer = http(pair).post(CHAT, json=ask(6, stream=True))
    assert error_in(answer.text)["message"].startswith("replica m-0 broke off its answer")
    assert answer.text.count("[DONE]") == 1
    assert (one.stats()["requests"], two.stats()["requests"]) == (1, 1)
    assert resumes(http(pair), "failed") == 1
    assert metric(http(pair), 'roundhouse_broken_streams_total{model="m"}') == 1


WHOLE_ONLY: list[dict[str, Any]] = [
    {"n": 2},
    {"logprobs": True},
    {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"regex": "t.*"}},
    {"tool_choice": "required"},
    {"echo": True},
]


@pytest.mark.parametrize("wish", WHOLE_ONLY, ids=lambda wish: next(iter(wish)))
def test_what_cannot_be_continued_is_not(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http, wish: dict[str, Any]
) -> None:
    one.behave(mode="cut_stream", n=2)
    answer = http(pair).post(CHAT, json=ask(6, stream=True) | wish)
    assert error_in(answer.text)["code"] == "engine_disconnected"
    assert two.stats()["requests"] == 0


def test_a_tool_call_that_has_begun_is_not_continued(
    build: Build, two: FakeEngine, http: Http
) -> None:
    call = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": call}]}).encode() + b"\n\n"
    with raw_engine(CHUNKED + chunk(event)) as engine:
        house = build(models={"m": {"source": [engine.url, two.url]}}, router=ON)
        client = http(house)
        answer = client.post(CHAT, json=ask(6, stream=True))
        assert error_in(answer.text)["code"] == "engine_disconnected"
        assert two.stats()["requests"] == 0
        assert resumes(client, "nobody") == 1


@pytest.mark.parametrize("fault", BREAKS, ids=named)
def test_off_by_default(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, fault: Fault
) -> None:
    one.behave(**fault)
    client = http(build(one, two, defaults=STALL))
    answer = client.post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text.partition('data: {"error"')[0]) == "t0 t1 "
    assert error_in(answer.text)["message"]
    assert two.stats()["requests"] == 0
    assert "roundhouse_resumes_total{" not in client.get("/metrics").text


def test_other_apis_get_their_error_event(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=2)
    answer = http(pair).post(MESSAGES, json=ask(6, stream=True))
    assert "event: error" in answer.text
    assert two.stats()["requests"] == 0


def test_what_does_not_break_is_not_touched(pair: House, one: FakeEngine, http: Http) -> None:
    body = ask(50, stream=True, stream_options={"include_usage": True})
    assert http(pair).post(CHAT, json=body).content == http(one).post(CHAT, json=body).content


def test_without_retry_budget_a_silent_engine_is_not_replaced(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=2)
    router = ON | {"retry": {"budget": 0, "budget_min": 0}}
    answer = http(build(one, two, router=router, defaults=STALL)).post(
        CHAT, json=ask(6, stream=True)
    )
    assert error_in(answer.text)["code"] == "engine_timeout"
    assert two.stats()["requests"] == 0


def test_the_deadline_holds_for_the_rest_too(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=2)
    two.behave(mode="stall_after", n=1)
    house = build(one, two, router=ON | {"retry": {"deadline": "500ms"}})
    answer = http(house).post(CHAT, json=ask(6, stream=True))
    assert contents(answer.text.partition('data: {"error"')[0]) == "t0 t1 t2 "
    assert error_in(answer.text)["code"] == "deadline_exceeded"
    assert "in attempt 2 " in error_in(answer.text)["message"]
    eventually(lambda: two.stats()["aborted"] == 1)
    assert resumes(http(house), "given_up") == 1


def test_a_client_that_hangs_up_meanwhile_frees_both(
    pair: House, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=2)
    two.pace(token_rate=20)
    seen = b""
    with closing(request(pair, ask(1000, stream=True))) as client:
        while b"t4 " not in seen:
            seen += client.recv(65536)
    for engine in (one, two):
        eventually(lambda engine=engine: engine.stats()["aborted"] == 1)
        assert engine.stats()["in_flight"] == 0
    eventually(lambda: not any(r.in_flight for r in pair.dispatcher.replicas.values()))
    page = http(pair)
    assert metric(page, 'roundhouse_client_disconnects_total{model="m"}') == 1
    assert resumes(page, "given_up") == 1


def test_the_breaker_hears_of_the_broken_one_only(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=2)
    house = build(one, two, router=ON | {"breaker": {"failures": 1}})
    assert contents(http(house).post(CHAT, json=ask(6, stream=True)).text) == CONTENT
    closed = [replica.breaker.closed for replica in house.dispatcher.replicas.values()]
    assert closed == [False, True]


async def stream_all(house: House, count: int) -> Counter[str]:
    """Many streams, each of which must be whole, or break off with an error."""
    limit, outcomes, roll = asyncio.Semaphore(24), Counter[str](), random.Random(3)

    async def one_stream(sdk: openai.AsyncOpenAI, tokens: int) -> str:
        said = ""
        async with limit:
            stream = await sdk.chat.completions.create(**ask(tokens), stream=True)
            try:
                async for part in stream:
                    said += part.choices[0].delta.content or ""
            except openai.APIError:
                assert len(said) < 3 * tokens
                return "broken"
        assert said == "".join(f"t{i} " for i in range(tokens))
        return "whole"

    async with openai.AsyncOpenAI(
        base_url=f"{house.url}/v1", api_key="none", max_retries=0, timeout=30
    ) as sdk:
        calls = (one_stream(sdk, roll.randint(2, 6)) for _ in range(count))
        outcomes.update(await asyncio.gather(*calls))
    return outcomes


def test_of_many_cut_streams_each_is_whole_or_told_of(
    build: Build, engines: list[FakeEngine], http: Http
) -> None:
    router = {"policy": "round_robin", "breaker": {"failures": 99}}
    house = build(*engines, router=router | {"resume": {"enabled": True, "max": 1}})
    for engine in engines:
        engine.behave(mode="flaky", cut_rate=0.3)
    outcomes = asyncio.run(stream_all(house, 400))
    assert outcomes.total() == 400
    client = http(house)
    told = {name: resumes(client, name) for name in ("completed", "failed", "nobody")}
    assert told["completed"] > 40
    assert outcomes["broken"] == told["nobody"] > 5
    cuts = sum(engine.stats()["played"]["cut_stream"] for engine in engines)
    assert cuts >= sum(told.values())
    assert all(replica.in_flight == 0 for replica in house.dispatcher.replicas.values())


def test_a_refusal_to_go_on_says_nothing_of_health(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream", n=2)
    two.behave(mode="status", status=400)
    house = build(one, two, router=ON | {"breaker": {"failures": 1}})
    http(house).post(CHAT, json=ask(6, stream=True))
    closed = [replica.breaker.closed for replica in house.dispatcher.replicas.values()]
    assert closed == [False, True]
