"""Engines that fail: another replica before the first byte, an error event after it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask, contents, events, eventually
from tests.gateway.raw import CHUNKED, chunk, raw_engine

Http = Callable[..., httpx.Client]
Fault = dict[str, Any]

FAULTS: list[Fault] = [
    {"mode": "status", "status": 500},
    {"mode": "status", "status": 502},
    {"mode": "status", "status": 503},
    {"mode": "status", "status": 504},
    {"mode": "status", "status": 429},
    {"mode": "cut_before_first_byte"},
    {"mode": "cut_after_headers"},
    {"mode": "error_event_first"},
    {"mode": "hang"},
]
QUICK = {"first_token_timeout": "300ms"}  # the other replica must keep it, even under load


def patience(fault: Fault) -> Fault:
    return QUICK if fault["mode"] == "hang" else {}


def named(fault: Fault) -> str:
    return "-".join(str(value) for value in fault.values())


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "src"}
    assert error["message"]
    return error


# Two replicas


@pytest.mark.parametrize("fault", FAULTS, ids=named)
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
def test_another_replica_takes_over_before_the_first_byte(
    build: Build,
    one: FakeEngine,
    two: FakeEngine,
    http: Http,
    fault: Fault,
    path: str,
    stream: bool,
) -> None:
    one.behave(**fault)
    expected = http(two).post(path, json=ask(stream=stream)).content
    answer = http(build(one, two, defaults=patience(fault))).post(path, json=ask(stream=stream))
    assert (answer.status_code, answer.content) == (200, expected)
    assert answer.headers["x-roundhouse-replica"] == "m-1"
    assert answer.headers["x-roundhouse-attempts"] == "2"
    assert one.stats()["requests"] == 1


def test_a_whole_answer_that_breaks_off_is_had_from_another(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="cut_stream")
    answer = http(build(one, two)).post(CHAT, json=ask())
    assert (answer.status_code, answer.json()["system_fingerprint"]) == (200, "two")


def test_the_slow_one_is_given_up_and_freed(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="slow_first_token", seconds=5)
    answer = http(build(one, two, defaults=QUICK)).post(CHAT, json=ask(stream=True))
    assert answer.headers["x-roundhouse-replica"] == "m-1"
    eventually(lambda: one.stats()["aborted"] == 1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_process_that_dies_over_a_request_is_replaced_in_it(
    build: Build, mortal: FakeEngine, two: FakeEngine, http: Http, stream: bool
) -> None:
    mortal.behave(mode="exit", status=9)
    answer = http(build(mortal, two)).post(CHAT, json=ask(stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-replica"] == "m-1"


def test_a_process_that_is_gone_is_asked_once_and_not_again(
    build: Build, mortal: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = build(mortal, two)
    mortal.kill()
    client = http(house)
    attempts = [client.post(CHAT, json=ask()).headers["x-roundhouse-attempts"] for _ in range(4)]
    assert attempts == ["2", "1", "1", "1"]
    rows = client.get("/admin/replicas").json()["replicas"]
    assert [row["state"] for row in rows] == ["starting", "ready"]


def test_a_dead_kept_alive_connection_costs_no_request(
    build: Build, mortal: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(mortal, two))
    assert client.post(CHAT, json=ask()).headers["x-roundhouse-replica"] == "m-0"
    mortal.kill()
    for _ in range(3):
        answer = client.post(CHAT, json=ask(stream=True))
        assert contents(answer.text) == "t0 t1 t2 "
        assert answer.headers["x-roundhouse-replica"] == "m-1"


def test_when_all_fail_the_last_failure_is_told(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="status", status=500)
    two.behave(mode="error_event_first")
    answer = http(build(one, two)).post(CHAT, json=ask(stream=True))
    assert answer.status_code == 502
    error = error_of(answer)
    assert (error["code"], error["src"]) == ("engine_dead", "engine")
    assert error["message"].startswith("replica m-1 failed: EngineCore encountered an issue.")


# How often


@pytest.mark.parametrize(("most", "asked"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_retry_max_is_the_number_of_further_attempts(
    build: Build, engines: list[FakeEngine], http: Http, most: int, asked: int
) -> None:
    for engine in engines:
        engine.behave(mode="status", status=500)
    house = build(*engines, router={"retry": {"max": most}})
    assert http(house).post(CHAT, json=ask()).status_code == 502
    assert [engine.stats()["requests"] for engine in engines] == [1] * asked + [0] * (3 - asked)


def test_retries_are_counted_by_reason(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(one, two))
    for fault in ({"mode": "status", "status": 503}, {"mode": "cut_before_first_byte"}):
        for engine in (one, two):
            engine.behave(**fault, times=1)
        client.post(CHAT, json=ask())
    text = client.get("/metrics").text
    assert 'roundhouse_retries_total{model="m",reason="503"} 1.0' in text
    assert 'roundhouse_retries_total{model="m",reason="engine_disconnected"}' in text


@pytest.mark.parametrize("status", [400, 401, 404, 408, 422])
def test_an_answer_that_blames_the_request_is_not_retried(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, status: int
) -> None:
    one.behave(mode="status", status=status)
    answer = http(build(one, two)).post(CHAT, json=ask())
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == "a fake fault"
    assert two.stats()["requests"] == 0


# One replica


@pytest.mark.parametrize(
    ("fault", "status", "code", "said"),
    [
        ({"mode": "status"}, 502, "engine_failed", "replica m-0 failed: a fake fault"),
        (
            {"mode": "cut_before_first_byte"},
            502,
            "engine_disconnected",
            "replica m-0 ",
        ),
        ({"mode": "cut_after_headers"}, 502, "engine_disconnected", "replica m-0 "),
        ({"mode": "error_event_first"}, 502, "engine_dead", "replica m-0 failed: EngineCore enc"),
        (
            {"mode": "hang"},
            504,
            "engine_timeout",
            "replica m-0 sent no first byte within 0.3 s (defaults.first_token_timeout)",
        ),
    ],
    ids=lambda value: named(value) if isinstance(value, dict) else "",
)
def test_without_another_replica_the_error_is_typed(
    build: Build, one: FakeEngine, http: Http, fault: Fault, status: int, code: str, said: str
) -> None:
    one.behave(**fault)
    answer = http(build(one, defaults=patience(fault))).post(CHAT, json=ask(stream=True))
    assert answer.status_code == status
    error = error_of(answer)
    assert (error["code"], error["src"]) == (code, "engine")
    assert error["message"].startswith(said)
    assert error["type"] == ("timeout_error" if status == 504 else "engine_error")
    assert answer.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_engines_own_words_and_retry_after_are_passed_on(
    build: Build, one: FakeEngine, http: Http, status: int
) -> None:
    body = {"error": {"message": "not now", "type": "Overloaded", "param": None, "code": status}}
    one.behave(mode="status", status=status, body=body, headers={"Retry-After": "7"})
    answer = http(build(one)).post(CHAT, json=ask())
    assert (answer.status_code, answer.json()) == (status, body)
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-roundhouse-replica"] == "m-0"


@pytest.mark.parametrize("mode", ["cut_before_first_byte", "cut_after_headers"])
def test_a_connection_that_breaks_is_tried_once_more_with_the_same(
    build: Build, one: FakeEngine, http: Http, mode: str
) -> None:
    one.behave(mode=mode, times=1)
    answer = http(build(one)).post(CHAT, json=ask(stream=True))
    assert contents(answer.text) == "t0 t1 t2 "
    assert answer.headers["x-roundhouse-attempts"] == "2"
    one.behave(mode=mode)
    assert http(build(one)).post(CHAT, json=ask(stream=True)).status_code == 502
    assert one.stats()["requests"] == 4


def test_a_killed_process_is_unreachable_and_then_unavailable(
    build: Build, mortal: FakeEngine, http: Http
) -> None:
    house = build(mortal)
    mortal.kill()
    client = http(house)
    first = client.post(CHAT, json=ask())
    assert (first.status_code, error_of(first)["code"]) == (502, "engine_unreachable")
    assert "replica m-0 cannot be reached: " in error_of(first)["message"]
    assert "None" not in error_of(first)["message"]
    then = client.post(CHAT, json=ask())
    assert (then.status_code, then.headers["retry-after"]) == (503, "5")
    error = error_of(then)
    assert (error["code"], error["src"]) == ("model_unavailable", "router")
    assert error["message"] == "model 'm' has no ready replica: starting (waiting for its process)"


def test_a_process_that_exits_over_a_request_is_told(
    build: Build, mortal: FakeEngine, http: Http
) -> None:
    mortal.behave(mode="exit")
    answer = http(build(mortal)).post(CHAT, json=ask(stream=True))
    assert answer.status_code == 502
    assert error_of(answer)["code"] in {"engine_unreachable", "engine_disconnected"}


def test_an_engine_that_speaks_no_http_is_told(build: Build, http: Http) -> None:
    with raw_engine(b"SSH-2.0-OpenSSH_9.9\r\n") as raw:
        answer = http(build(models={"m": {"source": raw.url}})).post(CHAT, json=ask())
    assert (answer.status_code, error_of(answer)["code"]) == (502, "engine_disconnected")


def test_an_empty_stream_is_no_answer(build: Build, two: FakeEngine, http: Http) -> None:
    with raw_engine(CHUNKED + b"0\r\n\r\n") as raw:
        alone = http(build(models={"m": {"source": raw.url}})).post(CHAT, json=ask(stream=True))
        house = build(models={"m": {"source": [raw.url, two.url]}})
        helped = http(house).post(CHAT, json=ask(stream=True))
    assert (alone.status_code, error_of(alone)["code"]) == (502, "engine_disconnected")
    assert "m-0" in error_of(alone)["message"]
    assert "ended without a byte" in error_of(alone)["message"]
    assert contents(helped.text) == "t0 t1 t2 "


# After the first byte


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"mode": "cut_stream", "n": 2}, "engine_disconnected"),
        ({"mode": "stall_after", "n": 2}, "engine_timeout"),
    ],
    ids=["cut", "stall"],
)
class TestBrokenStreams:
    @pytest.fixture
    def house(self, build: Build, one: FakeEngine, two: FakeEngine, fault: Fault) -> House:
        one.behave(**fault)
        return build(one, two, defaults={"stall_timeout": "200ms"})

    def test_the_stream_ends_with_an_error_event(
        self, house: House, two: FakeEngine, http: Http, code: str
    ) -> None:
        answer = http(house).post(CHAT, json=ask(stream=True))
        assert answer.status_code == 200
        assert contents(answer.text) == "t0 t1 "
        *_, event, done = events(answer.text)
        assert done == "[DONE]"
        error = json.loads(event)["error"]
        assert (error["code"], error["src"]) == (code, "engine")
        assert "m-0" in error["message"]
        assert two.stats()["requests"] == 0
        text = http(house).get("/metrics").text
        assert 'roundhouse_broken_streams_total{model="m"} 1.0' in text

    def test_openais_client_raises(
        self, house: House, sdk: Callable[..., openai.OpenAI], code: str
    ) -> None:
        said: list[str | None] = []
        stream = sdk(house).chat.completions.create(**ask(), stream=True)
        with pytest.raises(openai.APIError) as raised:
            said.extend(part.choices[0].delta.content for part in stream)
        assert said == ["", "t0 ", "t1 "]
        assert raised.value.code == code
        assert "m-0" in raised.value.message

    def test_anthropics_client_raises(
        self, house: House, claude: Callable[..., anthropic.Anthropic], code: str
    ) -> None:
        said = []
        with (
            pytest.raises(anthropic.APIStatusError) as raised,
            claude(house).messages.stream(**ask()) as stream,
        ):
            said += stream.text_stream
        assert raised.value.body["error"]["code"] == code

    def test_the_engine_is_freed(
        self, house: House, one: FakeEngine, http: Http, code: str
    ) -> None:
        http(house).post(CHAT, json=ask(stream=True))
        eventually(lambda: one.stats()["in_flight"] == 0)
        assert house.dispatcher.replicas["m-0"].in_flight == 0


def test_an_engines_own_late_error_event_is_passed_on(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="error_event_after", n=1)
    expected = http(one).post(CHAT, json=ask(stream=True)).content
    answer = http(build(one, two)).post(CHAT, json=ask(stream=True))
    assert answer.content == expected
    assert b"EngineCore encountered an issue" in expected
    assert answer.content.count(b"[DONE]") == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "too long", "type": "BadRequestError", "param": None, "code": 400},
        {"message": "too long", "type": "invalid_request_error", "code": "context_length"},
    ],
    ids=["vllm", "openai"],
)
def test_an_error_event_that_blames_the_request_is_passed_on(
    build: Build, two: FakeEngine, http: Http, error: dict[str, Any]
) -> None:
    sent = b'data: {"error": ' + json.dumps(error).encode() + b"}\n\ndata: [DONE]\n\n"
    with raw_engine(CHUNKED + chunk(sent) + b"0\r\n\r\n") as raw:
        house = build(models={"m": {"source": [raw.url, two.url]}})
        answer = http(house).post(CHAT, json=ask(stream=True))
    assert (answer.status_code, answer.content) == (200, sent)
    assert two.stats()["requests"] == 0


def test_an_anthropic_error_event_that_blames_the_request_is_passed_on(
    build: Build, two: FakeEngine, http: Http
) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}
    sent = b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"
    with raw_engine(CHUNKED + chunk(sent) + b"0\r\n\r\n") as raw:
        house = build(models={"m": {"source": [raw.url, two.url]}})
        answer = http(house).post(MESSAGES, json=ask(stream=True))
    assert (answer.status_code, answer.content) == (200, sent)
    assert two.stats()["requests"] == 0


def test_half_an_event_does_not_spoil_the_error_after_it(
    build: Build, http: Http, sdk: Callable[..., openai.OpenAI]
) -> None:
    """An engine may die in the middle of a line; the client must still see why."""
    whole = b'data: {"choices":[{"index":0,"delta":{"content":"t0 "}}]}\n\n'
    with raw_engine(CHUNKED + chunk(whole) + chunk(whole[:20])) as raw:
        house = build(models={"m": {"source": raw.url}})
        answer = http(house).post(CHAT, json=ask(stream=True))
        said: list[str | None] = []
        stream = sdk(house).chat.completions.create(**ask(), stream=True)
        with pytest.raises(openai.APIError) as raised:
            said.extend(part.choices[0].delta.content for part in stream)
    assert contents(answer.text) == "t0 "
    assert [json.loads(e)["error"]["code"] for e in events(answer.text)[1:-1]] == [
        "engine_disconnected"
    ]
    assert (said, raised.value.code) == (["t0 "], "engine_disconnected")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_events_that_arrive_in_pieces_are_whole_again(
    build: Build, http: Http, newline: bytes
) -> None:
    stream = b"".join(b"event: e%d%bdata: %d%b" % (i, newline, i, newline * 2) for i in range(5))
    pieces = [chunk(stream[i : i + 7]) for i in range(0, len(stream), 7)]
    with raw_engine(CHUNKED, *pieces, b"0\r\n\r\n") as raw:
        house = build(models={"m": {"source": raw.url}})
        answer = http(house).post(CHAT, json=ask(stream=True))
    assert answer.content == stream


def test_a_stream_without_a_last_blank_line_is_whole(build: Build, http: Http) -> None:
    with raw_engine(CHUNKED, chunk(b"data: 1\n\n"), chunk(b"data: 2"), b"0\r\n\r\n") as raw:
        house = build(models={"m": {"source": raw.url}})
        answer = http(house).post(CHAT, json=ask(stream=True))
    assert answer.content == b"data: 1\n\ndata: 2"


def test_a_client_that_pauses_is_no_silent_engine(
    build: Build, one: FakeEngine, http: Http
) -> None:
    """The engine waits for the client here, not the other way round."""
    house = build(one, defaults={"stall_timeout": "200ms"})
    body = ask(60_000, stream=True)
    received = b""
    with http(house).stream("POST", CHAT, json=body) as answer:
        for i, part in enumerate(answer.iter_raw(1 << 20)):
            received += part
            if i == 0:
                threading.Event().wait(0.5)  # longer than the limit and a sweep
    assert b'"error"' not in received
    assert received.endswith(b"data: [DONE]\n\n")
    assert received.count(b"data: ") == 60_000 + 2
