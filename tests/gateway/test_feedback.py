"""What is said of an answer changes which model `auto` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House

CODE = {"model": "auto", "messages": [{"role": "user", "content": "Write a Python function."}]}


@pytest.fixture
def shed(
    build: Build,
    one: FakeEngine,
    two: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> House:
    """Two models that are said to be about as good as each other, and ratings that count much."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return build(
        one,
        model={"quality": {"code": 0.7}},
        models={"other": {"source": two.url, "quality": {"code": 0.68}}},
        router={"strategy": "quality", "learning": {"prior_weight": 1, "shrinkage": 1}},
    )


def test_bad_ratings_send_the_next_requests_elsewhere(shed: House, http: Any) -> None:
    client = http(shed)
    assert client.post(CHAT, json=CODE | {"user": "a"}).headers["x-roundhouse-model"] == "m"
    for i in range(8):
        answer = client.post(CHAT, json=CODE | {"model": "auto:code", "user": f"b{i}"})
        told = {"request_id": answer.headers["x-request-id"], "rating": "down"}
        if answer.headers["x-roundhouse-model"] == "m":
            said = client.post("/v1/feedback", json=told)
            assert said.status_code == 200
            assert (said.json()["model"], said.json()["task"]) == ("m", "code")
    answer = client.post(CHAT, json=CODE | {"user": "c"})
    assert answer.headers["x-roundhouse-model"] == "other"
    scores = {
        (row["model"], row["task"]): row["ratings"]
        for row in client.get("/admin/feedback").json()["scores"]
    }
    assert scores["m", "code"] >= 1
    assert client.delete("/admin/feedback", params={"model": "m"}).json()["forgotten"] >= 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"request_id": "req-unknown", "rating": "up"}, "cannot be rated"),
        ({"request_id": "x"}, "needs a rating or an outcome"),
        ({"request_id": "x", "rating": 7}, "rating 7 is none"),
        ({"request_id": "x", "outcome": "nice"}, "outcome 'nice' is none"),
        ({"rating": "up"}, "missing required field `request_id`"),
        ({"request_id": "x", "rating": "up", "length": 7}, "unknown field `length`"),
    ],
)
def test_feedback_that_cannot_be_taken(
    shed: House, http: Any, body: dict[str, Any], said: str
) -> None:
    answer = http(shed).post("/v1/feedback", json=body)
    assert (answer.status_code, answer.json()["error"]["src"]) == (400, "router")
    assert said in answer.json()["error"]["message"]


def test_feedback_may_be_off(build: Build, one: FakeEngine, http: Any) -> None:
    house = build(one, router={"learning": {"enabled": False}})
    answer = http(house).post("/v1/feedback", json={"request_id": "x", "rating": "up"})
    assert answer.status_code == 400
    assert "router.learning.enabled" in answer.json()["error"]["message"]
