"""`model: auto` through the whole gateway: the body is made out to the model that was chosen."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House

CODE = "Write a Python function that reverses a linked list."
POEM = "Write a short poem about the first snow in Seoul."


@pytest.fixture
def shed(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    """`m` is good at code, `other` at poems."""
    return build(
        one,
        model={"quality": {"code": 0.9, "creative": 0.1, "general": 0.5}},
        models={
            "other": {
                "source": two.url,
                "quality": {"code": 0.1, "creative": 0.9, "general": 0.5},
            }
        },
    )


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize(("text", "model"), [(CODE, "m"), (POEM, "other")])
def test_the_task_finds_its_model(shed: House, http: Any, text: str, model: str) -> None:
    answer = http(shed).post(CHAT, json=chat(text))
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-model"] == model
    assert answer.headers["x-roundhouse-task"] == {"m": "code", "other": "creative"}[model]
    assert answer.json()["model"] == model, "the answer's model is who really answered"


def test_openai_python(shed: House) -> None:
    client = openai.OpenAI(base_url=f"{shed.url}/v1", api_key="none", max_retries=0)
    with client:
        answer = client.chat.completions.create(
            **chat(POEM), extra_body={"routing": {"task": "code"}}
        )
        assert answer.model == "m"
        stream = client.chat.completions.create(**chat(POEM), stream=True)
        assert {event.model for event in stream} == {"other"}


def test_a_task_by_name(shed: House, http: Any) -> None:
    answer = http(shed).post(CHAT, json=chat(POEM, model="auto:code"))
    assert answer.headers["x-roundhouse-model"] == "m"


def test_commit_it_stays_with_the_coder(shed: House, http: Any) -> None:
    client = http(shed)
    client.post(CHAT, json=chat(CODE))
    turns = [
        {"role": "user", "content": CODE},
        {"role": "assistant", "content": "def reverse(head): ..."},
        {"role": "user", "content": "commit it"},
    ]
    answer = client.post(CHAT, json={"model": "auto", "messages": turns})
    assert answer.headers["x-roundhouse-model"] == "m"
    assert "stays" in answer.headers["x-roundhouse-route"]


def test_the_rest_of_the_body_is_untouched(shed: House, http: Any, one: FakeEngine) -> None:
    body = chat(CODE, temperature=0.25, metadata={"model": "auto"})
    text = json.dumps(body, indent=3)
    headers = {"content-type": "application/json"}
    assert http(shed).post(CHAT, content=text, headers=headers).status_code == 200
    assert one.stats()["last"]["body"] == text.replace('"model": "auto"', '"model": "m"', 1)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"model": "auto:cooking"}, "model", "may stand a task"),
        ({"routing": {"strategy": "luck"}}, "routing", "'luck' is none"),
    ],
)
def test_a_wish_that_there_is_none_of(
    shed: House, http: Any, fields: dict[str, Any], param: str, said: str
) -> None:
    answer = http(shed).post(CHAT, json=chat(CODE) | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["src"]) == (400, param, "router")
    assert said in error["message"]


def test_a_form_cannot_be_made_out_to_a_model(shed: House, http: Any) -> None:
    files = {"file": ("a.wav", b"RIFF", "audio/wav")}
    answer = http(shed).post("/v1/audio/transcriptions", data={"model": "auto"}, files=files)
    assert answer.status_code == 400
    assert "needs a JSON body" in answer.json()["error"]["message"]


def test_to_ask_for_the_route_asks_no_model(shed: House, http: Any, one: FakeEngine) -> None:
    before = one.stats()["requests"]
    told = http(shed).post("/v1/route", json=chat(CODE)).json()
    assert (told["model"], told["task"]) == ("m", "code")
    assert [each["model"] for each in told["candidates"]] == ["m", "other"]
    assert one.stats()["requests"] == before


def test_the_route_of_a_bare_prompt(shed: House, http: Any) -> None:
    client = http(shed)
    told = client.post("/v1/route", json={"prompt": CODE}).json()
    assert (told["model"], told["task"], told["why"]) == ("m", "code", "balanced")
    assert told["second_stage"] is None
    speedy = client.post("/v1/route", json={"prompt": POEM, "model": "auto:code"}).json()
    assert (speedy["model"], speedy["why"]) == ("m", "named-task")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"promt": "hi"}', b'{"model": "auto"}', b"[1]"])
def test_nothing_to_route(shed: House, http: Any, body: bytes) -> None:
    answer = http(shed).post("/v1/route", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["src"] == "router"


def test_load_counts_in_the_route(shed: House, http: Any) -> None:
    """What runs is asked, not what the config says of it."""
    shed.report("m-0", None)
    told = http(shed).post("/v1/route", json={"prompt": CODE}).json()
    assert [each["loaded"] for each in told["candidates"] if each["model"] == "m"] == [False]


def test_every_name_is_listed(shed: House, http: Any) -> None:
    client = http(shed)
    listed = [each["id"] for each in client.get("/v1/models").json()["data"]]
    assert {"m", "other", "auto", "auto:code", "auto:speed"} <= set(listed)
    assert client.get("/v1/models/auto:code").json()["root"] == "auto"
