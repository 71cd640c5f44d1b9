"""`best_of` through the endpoint, its checks in processes of their own beside the router's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest

from router.ensembles.checks.check import unavailable
from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open
from tests.gateway.house import CHAT

Http = Callable[..., httpx.Client]
ASKED: Any = [{"role": "user", "content": "A function that adds, in Python."}]
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
TESTS = "assert add(2, 3) == 5"


def ask(http: Http, house: Any, check: dict[str, Any], **keys: Any) -> httpx.Response:
    recipe = {"kind": "best_of", "members": ["a", "b", "c"], "check": check, **keys}
    body = {"messages": ASKED, "routing": {"ensemble": recipe}}
    return http(house).post(CHAT, json=body, timeout=120)


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_code_that_passes_its_tests(
    open_house: Open, http: Http, speakers: dict[str, FakeSpeaker]
) -> None:
    if reason := asyncio.run(unavailable()):
        pytest.skip(f"no namespaces: {reason}")
    house = open_house(router={"ensembles": {"sandbox": True}})
    for speaker, code in zip(speakers.values(), (WRONG, RIGHT, WRONG), strict=True):
        speaker.say(code)
    answer = ask(http, house, {"tests": TESTS})
    assert text_of(answer) == RIGHT
    assert answer.headers["x-roundhouse-model"] == "b"


def test_code_is_not_run_because_a_request_says_so(open_house: Open, http: Http) -> None:
    answer = ask(http, open_house(), {"tests": TESTS})
    assert answer.status_code == 400
    assert "only where router.ensembles.sandbox is true" in answer.json()["error"]["message"]


def test_json_by_its_schema(open_house: Open, http: Http, speakers: dict[str, FakeSpeaker]) -> None:
    for speaker, said in zip(speakers.values(), ("18", '{"sum": 18}', "{}"), strict=True):
        speaker.say(said)
    schema = {"type": "object", "required": ["sum"]}
    assert text_of(ask(http, open_house(), {"json_schema": schema})) == '{"sum": 18}'


def test_no_answer_passes(open_house: Open, http: Http) -> None:
    check = {"regex": "nineteen"}
    assert "18" in text_of(ask(http, open_house(), check))
    failed = ask(http, open_house(), check, none_passes="fail")
    assert failed.status_code == 502
    assert failed.json()["error"]["code"] == "no_answer_passed"
    assert failed.headers["x-should-retry"] == "false"
