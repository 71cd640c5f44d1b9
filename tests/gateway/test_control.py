"""What the router answers itself."""

from __future__ import annotations

from collections.abc import Callable

import httpx2 as httpx
import pytest

from engines.base import EngineStatus, State
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, ask

Http = Callable[..., httpx.Client]


@pytest.fixture
def house(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    models = {"org/model": {"source": two.url, "aliases": ["openai/gpt-4o", "small"]}}
    return build(one, two, models=models)


def test_health_says_nothing_about_models(house: House, http: Http) -> None:
    house.report("org/model-0", None)
    answer = http(house).get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_is_a_ready_replica_of_every_model(house: House, http: Http) -> None:
    client = http(house)
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "draining": False,
        "models": {
            "m": {"ready": True, "replicas": ["ready", "ready"]},
            "org/model": {"ready": True, "replicas": ["ready"]},
        },
    }
    house.report("m-0", None)
    assert client.get("/ready").status_code == 200
    house.report("org/model-0", EngineStatus(State.FAILED, error="out of memory"))
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["models"] == {
        "m": {"ready": True, "replicas": ["starting", "ready"]},
        "org/model": {"ready": False, "replicas": ["failed"]},
    }


def test_the_list_of_models_has_names_and_aliases(house: House, http: Http) -> None:
    body = http(house).get("/v1/models").json()
    assert body["object"] == "list"
    named = [m for m in body["data"] if m["root"] != "auto"]
    assert [(m["id"], m["root"], m["parent"]) for m in named] == [
        ("m", "m", None),
        ("org/model", "org/model", None),
        ("openai/gpt-4o", "org/model", "org/model"),
        ("small", "org/model", "org/model"),
    ]
    assert {m["object"] for m in body["data"]} == {"model"}
    assert {m["owned_by"] for m in body["data"]} == {"roundhouse"}
    assert [m["max_model_len"] for m in named] == [2048, 6144, 6144, 6144]
    assert all(m["ready"] and m["created"] > 1_700_000_000 for m in body["data"])


@pytest.mark.parametrize(
    ("name", "root"), [("m", "m"), ("org/model", "org/model"), ("openai/gpt-4o", "org/model")]
)
def test_one_model_by_any_name(house: House, http: Http, name: str, root: str) -> None:
    client = http(house)
    model = client.get(f"/v1/models/{name}").json()
    assert (model["id"], model["root"]) == (name, root)
    assert model in client.get("/v1/models").json()["data"]
    escaped = client.get(f"/v1/models/{name.replace('/', '%2F')}").json()
    assert escaped == model


def test_an_unknown_model_is_404_with_near_names(house: House, http: Http) -> None:
    answer = http(house).get("/v1/models/org/modell")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["message"] == "no model 'org/modell'; did you mean 'org/model'?"


def test_no_name_is_not_the_only_model(build: Build, one: FakeEngine, http: Http) -> None:
    assert http(build(one)).get("/v1/models/").status_code == 404


def test_a_model_that_is_not_up_says_so(house: House, http: Http) -> None:
    house.report("org/model-0", None)
    models = http(house).get("/v1/models").json()["data"]
    assert {m["id"]: m["ready"] for m in models if m["root"] != "auto"} == {
        "m": True,
        "org/model": False,
        "openai/gpt-4o": False,
        "small": False,
    }


def test_the_replicas_as_the_router_sees_them(house: House, one: FakeEngine, http: Http) -> None:
    client = http(house)
    client.post(CHAT, json=ask())
    failed = EngineStatus(State.FAILED, pid=9, error="no memory", error_code="out_of_memory")
    house.report("org/model-0", failed)
    told = client.get("/admin/replicas").json()
    assert (told["ready"], told["settled"]) == (False, False)
    assert [row["id"] for row in told["replicas"]] == ["m-0", "m-1", "org/model-0"]
    assert told["replicas"][0] == {
        "id": "m-0",
        "model": "m",
        "state": "ready",
        "phase": "",
        "error": None,
        "error_code": None,
        "url": one.url,
        "gpu_ids": [],
        "breaker": "closed",
        "pid": 1,
        "in_flight": 0,
        "max_in_flight": 256,
        "served": 1,
        "restarts": 0,
        "started_at": 0.0,
        "ready_after_s": None,
        "max_model_len": 2048,
        "version": None,
        "loaded": None,
        "vram_bytes": None,
        "loaded_until": None,
        "on_demand": False,
    }
    last = told["replicas"][2]
    assert (last["state"], last["error"], last["error_code"]) == (
        "failed",
        "no memory",
        "out_of_memory",
    )
    assert (last["pid"], last["restarts"], last["url"]) == (9, 1, None)


def test_a_failed_model_answers_503_with_its_cause(house: House, http: Http) -> None:
    house.report(
        "org/model-0", EngineStatus(State.FAILED, error="no memory", error_code="out_of_memory")
    )
    answer = http(house).post(CHAT, json=ask() | {"model": "small"})
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert error["code"] == "out_of_memory"
    assert error["message"] == "model 'org/model' has no ready replica: failed (no memory)"
