"""Exceptions that nobody expected: an error object for the client, a traceback for the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import openai
import pytest

from gateway import metrics, resume
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, ask, eventually
from tests.gateway.test_failures import error_of

Http = Callable[..., httpx.Client]


def boom(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a bug")


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    return [kind.__name__ for kind in kinds if kind]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_on_the_way_to_an_engine(
    build: Build,
    one: FakeEngine,
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
) -> None:
    house = build(one)
    monkeypatch.setattr(house.dispatcher, "route", boom)
    answer = http(house).post(path, json=ask(), headers={"x-request-id": "mine"})
    assert answer.status_code == 500
    error = error_of(answer)
    assert (error["type"], error["src"]) == ("server_error", "router")
    assert "bug" not in answer.text
    assert answer.headers["x-request-id"] == "mine"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "request mine: a fault of the router's own"
    ]
    assert tracebacks(caplog) == ["ZeroDivisionError"]
    monkeypatch.undo()
    assert http(house).post(path, json=ask()).status_code == 200
    counted = f'roundhouse_requests_total{{model="",route="{path}",status="500"}} 1.0'
    assert counted in http(house).get("/metrics").text


def test_on_the_slow_side(
    build: Build,
    one: FakeEngine,
    http: Http,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = build(one)
    monkeypatch.setattr(metrics.Metrics, "collect", boom)
    answer = http(house).get("/metrics")
    assert answer.status_code == 500
    assert error_of(answer)["src"] == "router"
    eventually(lambda: tracebacks(caplog) == ["ZeroDivisionError"])


def test_within_a_stream_the_client_notices(
    build: Build,
    one: FakeEngine,
    two: FakeEngine,
    sdk: Callable[..., openai.OpenAI],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = build(one, two, router={"resume": {"enabled": True}})
    monkeypatch.setattr(resume, "failure_in", boom)
    with (
        caplog.at_level(logging.ERROR),
        sdk(house).chat.completions.create(**ask(), stream=True) as stream,
        pytest.raises(openai.APIConnectionError),
    ):
        list(stream)
    eventually(lambda: tracebacks(caplog) == ["ZeroDivisionError"])
    assert house.dispatcher.replicas["m-0"].in_flight == 0
    monkeypatch.undo()
    answer = sdk(house).chat.completions.create(**ask())
    assert json.loads(answer.model_dump_json())["choices"][0]["message"]["content"] == "t0 t1 t2 "
