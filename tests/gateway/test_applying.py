"""Another config for a running gateway: who is touched, and that no request fails over it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import pytest

from gateway.setup import in_force
from tests.fakes.running import FakeEngine
from tests.gateway.applied import TOKEN, ApplyingHouse
from tests.gateway.house import CHAT, ask, eventually
from tests.gateway.managed import FakeShed, gguf

Http = Callable[..., httpx.Client]
Open = Callable[..., ApplyingHouse]
LONGER = {"engine_args": {"n_ctx": 4096}}


@pytest.fixture(scope="module")
def _engine() -> Iterator[FakeEngine]:
    with FakeEngine(model=["a", "b", "c", "far", "alias"]) as engine:
        yield engine


@pytest.fixture
def engine(_engine: FakeEngine) -> FakeEngine:
    _engine.reset()
    return _engine


@pytest.fixture
def shed(engine: FakeEngine) -> FakeShed:
    return FakeShed(engine)


@pytest.fixture
def open_house(shed: FakeShed) -> Iterator[Open]:
    with ExitStack() as stack:

        def build(data: dict[str, Any], room: int = 3) -> ApplyingHouse:
            house = ApplyingHouse(data, shed, room)
            house.start()
            stack.callback(house.stop)
            eventually(lambda: "loading" not in house.states().values())
            return house

        yield build


def of(*names: str, **sections: Any) -> dict[str, Any]:
    return {"models": {name: gguf() for name in names}, **sections}


def far(engine: FakeEngine, **more: Any) -> dict[str, Any]:
    return {"source": engine.url, "engine": "openai", **more}


def said(client: httpx.Client, model: str, **more: Any) -> str:
    answer = client.post(CHAT, json=ask(model=model, **more))
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-roundhouse-model"])


def pid(client: httpx.Client, model: str) -> int:
    rows = client.get("/admin/replicas").json()["replicas"]
    return next(row["pid"] for row in rows if row["model"] == model)


def test_only_what_differs_is_touched(open_house: Open, http: Http, shed: FakeShed) -> None:
    house = open_house(of("a", "b"))
    client = http(house)
    before = pid(client, "a")
    answer = house.apply(client, of("a", "c"))
    assert (answer.status_code, answer.json()) == (
        200,
        {"added": ["c"], "removed": ["b"], "changed": [], "unchanged": ["a"]}
        | {"settings": [], "fixed": []},
    )
    gone = client.post(CHAT, json=ask(model="b"))
    assert gone.status_code == 404
    assert "no model 'b'" in gone.json()["error"]["message"]
    assert (said(client, "a"), said(client, "c")) == ("a", "c")
    eventually(lambda: house.states() == {"a": "ready", "c": "ready"})
    assert set(shed.there) == {"a-0", "c-0"}
    assert shed.starts == ["a", "b", "c"]
    assert pid(client, "a") == before
    assert [model["id"] for model in client.get("/v1/models").json()["data"]][:2] == ["a", "c"]
    assert "roundhouse_configs_applied_total 1.0" in client.get("/metrics").text
    assert [row["id"] for row in client.get("/admin/models").json()["models"]] == ["a", "c"]
    assert client.get("/ready").status_code == 200


def test_what_a_removed_model_answers_just_then_is_answered_to_its_end(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    engine.pace(token_rate=20)
    house = open_house(of("a", "b"))
    client, other = http(house), http(house)
    with client.stream("POST", CHAT, json=ask(20, model="b", stream=True)) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert house.apply(other, of("a")).status_code == 200
        assert other.post(CHAT, json=ask(model="b")).status_code == 404
        assert "b-0" in shed.there
        early = house.apply(other, of("a", "b"))
        assert (early.status_code, early.json()["error"]["code"]) == (409, "conflict")
        assert "b was removed a moment ago and still drains" in early.text
        assert "data: [DONE]" in list(lines)
    eventually(lambda: house.states() == {"a": "ready"})
    assert set(shed.there) == {"a-0"}
    assert house.apply(other, of("a", "b")).status_code == 200
    assert said(other, "b") == "b"


def test_a_changed_model_is_drained_and_loaded_anew_and_who_asks_meanwhile_waits(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    engine.pace(token_rate=20)
    house = open_house(of("a"))
    client, other = http(house), http(house)
    data = {"models": {"a": gguf(**LONGER)}}
    with (
        ThreadPoolExecutor(1) as pool,
        client.stream("POST", CHAT, json=ask(20, model="a", stream=True)) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        first = pid(other, "a")
        assert house.apply(other, data).json()["changed"] == ["a"]
        waits = pool.submit(said, other, "a")
        assert "data: [DONE]" in list(lines)
        assert waits.result(20) == "a"
    assert pid(other, "a") != first
    assert shed.there["a-0"].engine_args == LONGER["engine_args"]
    assert shed.starts == ["a", "a"]


def test_a_model_that_changes_while_it_is_not_loaded_is_loaded_for_the_next_request(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    house = open_house({"models": {"a": gguf(load="on_demand")}})
    client = http(house)
    changed = {"models": {"a": gguf(load="on_demand", **LONGER)}}
    assert house.apply(client, changed).json()["changed"] == ["a"]
    assert shed.starts == []
    assert said(client, "a") == "a"
    assert shed.there["a-0"].engine_args == LONGER["engine_args"]


def test_one_that_failed_is_tried_at_once_when_it_has_changed(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    shed.failing["a"] = ("failed to open /nowhere/model.gguf", "engine_load_failed")
    house = open_house(of("a"))
    client = http(house)
    assert house.states() == {"a": "failed"}
    shed.failing.clear()
    assert house.apply(client, {"models": {"a": gguf(**LONGER)}}).status_code == 200
    assert said(client, "a") == "a"


def test_who_waits_for_a_model_that_is_removed_hears_it(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    shed.held.add("b")
    house = open_house({"models": {"a": gguf(), "b": gguf(load="on_demand")}})
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(http(house).post, CHAT, json=ask(model="b"))
        eventually(lambda: house.waiting("b") == 1)
        assert house.apply(http(house), of("a")).status_code == 200
        answer = waits.result(20)
    assert answer.status_code == 404
    assert "'b' has been removed from the config" in answer.json()["error"]["message"]
    for spec in list(shed.there.values()):  # its load ends all the same, and it goes
        if spec.model == "b":
            shed.let("b")
    eventually(lambda: house.states() == {"a": "ready"})
    assert set(shed.there) == {"a-0"}


def test_requests_flow_during_twenty_applies(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    engine.pace(token_rate=300)
    house = open_house(of("a", "b"), room=2)
    stop = threading.Event()
    configs = [
        {"models": {"a": gguf(), "b": gguf(**LONGER), "c": gguf()}},
        {"models": {"a": gguf(aliases=["alias"]), "b": gguf()}, "lifecycle": {"max_swaps": 2}},
    ]

    def keep_asking(model: str) -> int:
        client, count = http(house), 0
        while not stop.is_set():
            said(client, model)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking, model) for model in "aabb"]
        client = http(house)
        try:
            for n in range(20):
                eventually(lambda: house.apply(client, configs[n % 2]).status_code == 200)  # noqa: B023
                said(client, "a")
                if n % 2 == 0:
                    said(client, "c")
        finally:
            stop.set()
        counts = [each.result(30) for each in asking]
    assert min(counts) > 0
    assert house.in_force.config.lifecycle.max_swaps == 2
    assert shed.most_at_once <= 2
    rows = client.get("/admin/replicas").json()["replicas"]
    assert {row["in_flight"] for row in rows} == {0}
    assert house.loads()["b"] >= 2, "it was loaded anew"


def test_what_the_router_alone_goes_by_changes_where_it_is(
    open_house: Open, http: Http, shed: FakeShed, engine: FakeEngine
) -> None:
    house = open_house({"models": {"a": gguf(), "far": far(engine)}})
    client = http(house)
    data = {
        "models": {
            "a": gguf(aliases=["alias"], keep_alive="1h", pinned=True, max_in_flight=2),
            "far": far(engine),
        },
        "router": {"strategy": "speed", "fallbacks": {"a": ["far"]}, "retry": {"max": 0}},
    }
    told = house.apply(client, data).json()
    assert (told["changed"], told["unchanged"]) == ([], ["a", "far"])
    assert set(told["settings"]) == {
        *(f"models.a.{key}" for key in ("aliases", "keep_alive", "pinned", "max_in_flight")),
        *(f"router.{key}" for key in ("strategy", "fallbacks", "retry")),
    }
    assert said(client, "alias") == "a"
    row = client.get("/admin/models/a").json()
    assert row["pinned"]
    assert shed.starts == ["a"]
    rows = {row["id"]: row for row in client.get("/admin/replicas").json()["replicas"]}
    assert rows["a-0"]["max_in_flight"] == 2
    house.report("a-0", None)  # its process is gone
    assert said(client, "a") == "far", "the new fallback"


def test_models_elsewhere_come_change_and_go(
    open_house: Open, http: Http, engine: FakeEngine
) -> None:
    house = open_house(of("a"))
    client = http(house)
    assert house.apply(client, {"models": {"a": gguf(), "far": far(engine)}}).status_code == 200
    assert said(client, "far") == "far"
    named = far(engine, remote={"model": "b"})
    told = house.apply(client, {"models": {"a": gguf(), "far": named}}).json()
    assert (told["changed"], told["unchanged"]) == (["far"], ["a"])
    assert said(client, "far") == "far"
    assert house.apply(client, of("a")).json()["removed"] == ["far"]
    assert client.post(CHAT, json=ask(model="far")).status_code == 404


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"models": {"a": gguf()}, "server": {"max_body_mib": 1}}, "server.max_body_mib"),
        ({"models": {"a": gguf()}, "defaults": {"load_timeout": "5s"}}, "defaults.load_timeout"),
        ({"models": {"a": gguf()}, "router": {"policy": "round_robin"}}, "router.policy"),
        (
            {"models": {"a": {"source": "http://127.0.0.1:9", "engine": "openai"}}},
            "models.a.engine (llamacpp to openai",
        ),
    ],
)
def test_what_cannot_change_is_refused_and_all_is_as_it_was(
    open_house: Open, http: Http, data: dict[str, Any], words: str
) -> None:
    house = open_house(of("a"))
    client, before = http(house), house.in_force
    answer = house.apply(client, data)
    assert answer.status_code == 400
    assert "needs a restart: " in answer.json()["error"]["message"]
    assert words in answer.json()["error"]["message"]
    assert house.in_force is before
    assert in_force(8000, TOKEN) == before
    assert said(client, "a") == "a"


def test_a_key_that_is_missing_leaves_all_as_it_was(
    open_house: Open, http: Http, engine: FakeEngine
) -> None:
    house = open_house(of("a"))
    client, before = http(house), house.in_force
    wanting = far(engine, remote={"api_key_env": "NOT_SET_ANYWHERE"})
    answer = house.apply(client, {"models": {"a": gguf(), "far": wanting}})
    assert answer.status_code == 400
    assert "NOT_SET_ANYWHERE" in answer.json()["error"]["message"]
    assert house.in_force is before
    assert client.post(CHAT, json=ask(model="far")).status_code == 404


def test_of_two_at_a_time_the_second_is_refused(open_house: Open, http: Http) -> None:
    house = open_house(of("a"))
    ids = [house.staged(of("a", name)).id for name in "bc"]
    with ThreadPoolExecutor(2) as pool:
        tell = lambda name: http(house).post("/admin/config", json={"setup": name})  # noqa: E731
        answers = list(pool.map(tell, ids))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    late = http(house).post("/admin/config", json={"setup": house.stale(of("a")).id})
    assert late.status_code == 409
    assert "another config has been applied meanwhile" in late.text


@pytest.mark.parametrize("name", ["0" * 16, "../../etc/passwd", ""])
def test_a_request_can_only_name_what_was_staged(open_house: Open, http: Http, name: str) -> None:
    answer = http(open_house(of("a"))).post("/admin/config", json={"setup": name})
    assert answer.status_code == 400
    assert "there is no such setup" in answer.text


def test_the_next_router_begins_with_what_was_applied(open_house: Open, http: Http) -> None:
    house = open_house(of("a"))
    assert house.apply(http(house), of("a", "b")).status_code == 200
    eventually(lambda: not house.in_force.leaving)
    found = in_force(8000, TOKEN)
    assert found is not None
    assert found == house.in_force
    assert list(found.config.models) == ["a", "b"]
    assert in_force(8000, "of another server") is None


def test_what_a_router_that_died_had_not_ended_yet_is_ended_by_the_next(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    engine.pace(token_rate=20)
    house = open_house(of("a", "b"))
    client = http(house)
    with client.stream("POST", CHAT, json=ask(40, model="b", stream=True)) as answer:
        next(answer.iter_lines())
        assert house.apply(http(house), of("a")).status_code == 200
        found = in_force(8000, TOKEN)
        assert found is not None
        assert [spec.id for spec in found.leaving] == ["b-0"]
        house.call(house.fleet.end(found.leaving))
        assert set(shed.there) == {"a-0"}
    eventually(lambda: not house.in_force.leaving)
    assert in_force(8000, TOKEN) == house.in_force
