"""Models that are loaded and unloaded, through the whole gateway; only the processes are fake."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import pytest

from common.config import Config
from tests.fakes.running import FakeEngine
from tests.gateway.house import CHAT, ask, eventually
from tests.gateway.managed import FakeShed, ManagedHouse, gguf, sleeper

Http = Callable[..., httpx.Client]
Open = Callable[..., ManagedHouse]
NAMES = ("a", "b", "c", "owner/model")


@pytest.fixture(scope="module")
def _engine() -> Iterator[FakeEngine]:
    with FakeEngine(model=[*NAMES, "other"]) as engine:
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
    """`open_house({"a": gguf(), "b": gguf()}, room=1, router={...})`: a is loaded at the start, b
    on demand."""
    with ExitStack() as stack:

        def build(
            models: dict[str, Any], room: int = 1, is_ready: bool = True, **sections: Any
        ) -> ManagedHouse:
            config = Config.model_validate({"models": models, **sections})
            house = ManagedHouse(config, shed, room, on_demand=list(models)[room:])
            house.start()
            stack.callback(house.stop)
            if is_ready:
                eventually(lambda: "loading" not in house.states().values())
            return house

        yield build


def pair(**more: Any) -> dict[str, Any]:
    return {"a": gguf(**more), "b": gguf()}


def test_a_model_on_demand_is_loaded_by_its_first_request(open_house: Open, http: Http) -> None:
    house = open_house({"a": gguf(), "b": gguf(load="on_demand")}, room=2)
    client = http(house)
    assert house.states() == {"a": "ready", "b": "cold"}
    told = client.get("/ready")
    assert told.status_code == 200
    assert told.json()["models"]["b"] == {"ready": False, "replicas": ["cold"]}
    assert client.get("/admin/replicas").json()["settled"]
    answer = client.post(CHAT, json=ask(model="b"))
    assert answer.status_code == 200
    assert answer.json()["model"] == "b"
    assert house.states() == {"a": "ready", "b": "ready"}
    assert house.loads() == {"a": 1, "b": 1}


def test_two_models_with_room_for_one_are_both_answered(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    house = open_house(pair())
    client = http(house)
    for name in ("a", "b", "a", "b", "b"):
        assert client.post(CHAT, json=ask(model=name)).json()["model"] == name
    assert shed.starts == ["a", "b", "a", "b"]
    assert shed.most_at_once == 1
    assert client.get("/ready").status_code == 200, "that another has its place is no trouble"
    rows = {row["id"]: row for row in client.get("/admin/replicas").json()["replicas"]}
    assert {name: row["restarts"] for name, row in rows.items()} == {"a-0": 0, "b-0": 0}


def test_requests_at_once_for_both_are_answered_with_few_swaps(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    house = open_house(pair())
    client = http(house)

    def said(name: str) -> str:
        return str(client.post(CHAT, json=ask(model=name)).json()["model"])

    names = list("ab" * 10)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(said, names)) == names
    assert shed.most_at_once == 1
    assert len(shed.starts) <= 8


def test_keep_alive_unloads_an_idle_model(open_house: Open, http: Http) -> None:
    house = open_house({"a": gguf(keep_alive="300ms")})
    for loads in (1, 2):
        eventually(lambda: house.states() == {"a": "cold"})
        assert house.loads() == {"a": loads}
        if loads == 1:
            assert http(house).post(CHAT, json=ask(model="a")).status_code == 200


@pytest.mark.parametrize("wish", [{"keep_alive": 0}, {"routing": {"keep_alive": "0s"}}])
def test_a_request_may_say_how_long_it_stays(
    open_house: Open, http: Http, wish: dict[str, Any]
) -> None:
    house = open_house({"a": gguf()})
    client = http(house)
    assert client.post(CHAT, json=ask(model="a")).status_code == 200
    assert house.states() == {"a": "ready"}
    assert client.post(CHAT, json=ask(model="a", **wish)).status_code == 200
    eventually(lambda: house.states() == {"a": "cold"})


def test_a_keep_alive_that_is_none_is_refused(open_house: Open, http: Http) -> None:
    answer = http(open_house({"a": gguf()})).post(CHAT, json=ask(model="a", keep_alive="soon"))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "keep_alive"
    assert "'soon' is no keep_alive" in answer.json()["error"]["message"]


def test_nobody_makes_room_who_is_pinned(open_house: Open, http: Http) -> None:
    house = open_house(pair(pinned=True, keep_alive=0))
    answer = http(house).post(CHAT, json=ask(model="b"))
    assert answer.status_code == 503
    assert "a is pinned" in answer.json()["error"]["message"]
    assert house.states() == {"a": "ready", "b": "cold"}
    row = http(house).get("/admin/models/a").json()
    assert (row["pinned"], row["until"]) == (True, "forever")


FAILURES = [
    ("CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory", "out of memory"),
    ("unknown model architecture: 'mamba9'", "engine_load_failed", "wrong architecture"),
    ("failed to open /models/gone.gguf", "engine_load_failed", "file missing"),
]


@pytest.mark.parametrize(("said", "code", "cause"), FAILURES)
def test_a_load_that_fails_is_told_everywhere_and_not_tried_at_once(
    open_house: Open, http: Http, shed: FakeShed, said: str, code: str, cause: str
) -> None:
    shed.failing["b"] = (said, code)
    house = open_house(pair())
    client = http(house)
    for _ in range(3):
        answer = client.post(CHAT, json=ask(model="b"))
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        error = answer.json()["error"]
        assert (error["code"], error["src"]) == (code, "engine")
        assert said in error["message"]
        assert cause in error["message"]
    assert house.loads()["b"] == 1
    row = client.get("/admin/models/b").json()
    assert (row["state"], row["cause"], row["error"]) == ("failed", cause, said)
    assert 0 < row["retry_in_s"] <= 5
    assert row["held_bytes"] == {}
    (replica,) = [r for r in client.get("/admin/replicas").json()["replicas"] if r["model"] == "b"]
    assert (replica["state"], replica["error"]) == ("failed", said)
    assert shed.there == {}, "what is left of a failed load is cleared up, and a had gone for it"
    assert 'roundhouse_model_loads_total{model="b",outcome="failed"} 1.0' in metrics(client)


def test_a_process_that_cannot_be_started_is_told(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    shed.held.add("b")
    shed.troubled["b"] = "the replica's constructor failed: no module named engines"
    answer = http(open_house(pair())).post(CHAT, json=ask(model="b"))
    assert answer.status_code == 503
    assert "no module named engines" in answer.json()["error"]["message"]


def test_another_model_stands_in_for_one_that_does_not_load(
    open_house: Open, http: Http, shed: FakeShed, engine: FakeEngine
) -> None:
    shed.failing["b"] = ("CUDA out of memory", "out_of_memory")
    models = {**pair(), "other": {"source": engine.url, "engine": "openai"}}
    house = open_house(models, router={"fallbacks": {"b": ["other"]}})
    for _ in range(2):
        answer = http(house).post(CHAT, json=ask(model="b"))
        assert answer.status_code == 200
        assert answer.headers["x-roundhouse-model"] == "other"
        assert "fallback from b: out_of_memory" in answer.headers["x-roundhouse-route"]


def test_a_model_on_demand_may_stand_in(open_house: Open, http: Http, shed: FakeShed) -> None:
    shed.failing["a"] = ("unknown model architecture: 'x'", "engine_load_failed")
    house = open_house(pair(), router={"fallbacks": {"a": ["b"]}})
    answer = http(house).post(CHAT, json=ask(model="a"))
    assert answer.headers["x-roundhouse-model"] == "b"
    assert house.states() == {"a": "failed", "b": "ready"}
    assert http(house).get("/ready").status_code == 503, "a was to be there from the start"


def test_it_is_tried_again_after_the_pause(
    open_house: Open, http: Http, shed: FakeShed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.manager.cooldown.FIRST_PAUSE_S", 0.3)
    shed.failing["b"] = ("file not found", "engine_load_failed")
    client = http(open_house(pair()))
    assert client.post(CHAT, json=ask(model="b")).status_code == 503
    shed.failing.clear()
    eventually(lambda: client.post(CHAT, json=ask(model="b")).status_code == 200)
    assert client.get("/admin/models/b").json()["error"] is None


def test_who_hangs_up_in_line_leaves_it(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    engine.pace(token_rate=20)
    house = open_house(pair())
    busy = threading.Thread(
        target=http(house).post, args=(CHAT,), kwargs={"json": ask(60, model="a")}
    )
    busy.start()
    eventually(lambda: engine.stats()["in_flight"] == 1)
    with pytest.raises(httpx.TimeoutException):
        http(house, timeout=0.5).post(CHAT, json=ask(model="b"))
    eventually(lambda: house.waiting("b") == 0)
    busy.join()
    assert shed.starts == ["a"]
    assert "roundhouse_client_disconnects_total" in metrics(http(house))


def test_time_over_is_told_while_the_load_goes_on(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    shed.held.add("b")
    house = open_house(pair(), router={"retry": {"deadline": "500ms"}})
    answer = http(house).post(CHAT, json=ask(model="b"))
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert house.states()["b"] == "loading"
    shed.let("b")
    eventually(lambda: house.states()["b"] == "ready")
    assert http(house).post(CHAT, json=ask(model="b")).status_code == 200
    assert house.loads()["b"] == 1


def test_a_load_does_not_count_as_silence_of_the_engine(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    shed.held.add("b")
    house = open_house(pair(), defaults={"first_token_timeout": "400ms"})
    threading.Timer(1.2, shed.let, ["b"]).start()
    began = time.monotonic()
    answer = http(house).post(CHAT, json=ask(model="b"))
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-attempts"] == "1"
    assert time.monotonic() - began > 1


def test_a_load_that_takes_too_long_has_failed(
    open_house: Open, http: Http, shed: FakeShed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet._START_S", 0.2)
    shed.held.add("b")
    house = open_house(pair(), defaults={"load_timeout": "300ms"})
    assert http(house).post("/admin/models/b/load", json={}).status_code == 202
    eventually(lambda: house.states()["b"] == "failed")
    assert "b was not ready after" in http(house).get("/admin/models/b").json()["error"]
    assert "b-0" not in shed.there


def test_unload_waits_for_answers_that_are_under_way(
    open_house: Open, http: Http, engine: FakeEngine
) -> None:
    engine.pace(token_rate=20)
    house = open_house({"a": gguf()})
    client = http(house)
    with client.stream("POST", CHAT, json=ask(20, model="a", stream=True)) as answer:
        lines = answer.iter_lines()
        next(lines)
        told = http(house).post("/admin/models/a/unload", json={})
        assert (told.status_code, told.json()["state"]) == (202, "draining")
        assert told.json()["in_flight"] == 1
        rest = list(lines)
    assert rest[-2:] == ["data: [DONE]", ""] or "data: [DONE]" in rest
    eventually(lambda: house.states() == {"a": "cold"})
    assert client.get("/ready").status_code == 200
    assert client.post(CHAT, json=ask(model="a")).status_code == 200
    assert house.loads() == {"a": 2}


def test_the_api_tells_of_each_model(open_house: Open, http: Http, engine: FakeEngine) -> None:
    models = {
        "a": gguf(keep_alive="1h"),
        "b": gguf(),
        "other": {"source": engine.url, "engine": "openai"},
    }
    client = http(open_house(models, room=1))
    client.post(CHAT, json=ask(model="a"))
    rows = {row["id"]: row for row in client.get("/admin/models").json()["models"]}
    assert list(rows) == ["a", "b", "other"]
    assert {n: (r["state"], r["engine"]) for n, r in rows.items()} == {
        "a": ("ready", "llamacpp"),
        "b": ("cold", "llamacpp"),
        "other": ("ready", "openai"),
    }
    assert rows["a"]["predicted_bytes"] == rows["a"]["held_bytes"] == {"ram": 10}
    assert rows["b"]["held_bytes"] == {}
    assert rows["other"]["predicted_bytes"] is None
    assert 3500 < rows["a"]["until"] - time.time() <= 3600
    assert rows["a"]["replicas"] == ["a-0"]
    page = metrics(client)
    assert 'roundhouse_model_loaded{model="a"} 1.0' in page
    assert 'roundhouse_model_waiting{model="b"} 0.0' in page
    assert re.search(r'roundhouse_model_load_seconds_count\{model="a"\} 1.0', page)


def test_load_and_unload_by_the_api(open_house: Open, http: Http) -> None:
    client = http(open_house(pair()))
    told = client.post("/admin/models/b/load", json={"wait": True, "keep_alive": "1h"})
    assert (told.status_code, told.json()["state"]) == (200, "ready")
    assert told.json()["until"] - time.time() <= 3600
    told = client.post("/admin/models/b/unload", json={"wait": True})
    assert (told.status_code, told.json()["state"]) == (200, "cold")
    assert client.post("/admin/models/b/unload").json()["state"] == "cold"
    page = metrics(client)
    assert 'roundhouse_model_evictions_total{model="a"} 1.0' in page
    assert 'roundhouse_model_unloads_total{model="b"} 1.0' in page


def test_what_the_api_refuses(
    open_house: Open, http: Http, engine: FakeEngine, shed: FakeShed
) -> None:
    shed.held.add("b")
    models = {**pair(), "other": {"source": engine.url, "engine": "openai"}}
    client = http(open_house(models))
    for path, body, status, words in [
        ("bb/load", {}, 404, "no model 'bb'; did you mean 'b'"),
        ("other/load", {}, 400, "engine openai is remote"),
        ("other/unload", {}, 400, "engine openai is remote"),
        ("a/load", {"weight": 1}, 400, "weight"),
        ("a/load", {"keep_alive": "soon"}, 400, "'soon' is no keep_alive"),
    ]:
        answer = client.post(f"/admin/models/{path}", json=body)
        assert answer.status_code == status, path
        assert words in answer.json()["error"]["message"]
    client.post("/admin/models/b/load")
    told = client.post("/admin/models/b/unload")
    assert (told.status_code, "b is loading" in told.text) == (400, True)


def test_a_name_with_a_slash(open_house: Open, http: Http) -> None:
    client = http(open_house({"owner/model": gguf()}))
    assert client.post("/admin/models/owner/model/unload", json={"wait": True}).status_code == 200
    assert client.get("/admin/models/owner/model").json()["state"] == "cold"
    assert client.get("/admin/models/owner%2Fmodel").json()["state"] == "cold"


def test_a_router_that_comes_back_takes_over_what_runs(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    """b was loaded in place of a, which is no reason to swap them now."""
    first = open_house(pair())
    assert http(first).post(CHAT, json=ask(model="b")).status_code == 200
    running = dict(shed.there)
    second = open_house(pair(), is_ready=False)

    def is_taken_over() -> bool:
        for spec in running.values():
            shed.tell(spec)
        return second.states() == {"a": "cold", "b": "ready"}

    eventually(is_taken_over)
    assert http(second).post(CHAT, json=ask(model="b")).status_code == 200
    assert shed.starts == ["a", "b"]
    assert http(second).get("/ready").status_code == 200


def test_auto_and_fallbacks_come_back_to_a_model_whose_pause_is_over(
    open_house: Open, http: Http, shed: FakeShed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.manager.cooldown.FIRST_PAUSE_S", 3.0)
    shed.failing["a"] = ("file not found", "engine_load_failed")
    client = http(open_house({"a": gguf(load="on_demand")}))
    assert client.post(CHAT, json=ask(model="a")).status_code == 503
    assert "no replica is healthy" in client.post(CHAT, json=ask(model="auto")).text
    shed.failing.clear()
    eventually(lambda: client.post(CHAT, json=ask(model="auto")).status_code == 200)


def test_a_model_that_can_sleep_makes_room_so_and_is_woken(
    open_house: Open, http: Http, shed: FakeShed
) -> None:
    house = open_house({"a": sleeper(), "b": sleeper(), "c": gguf()})
    client = http(house)
    for model in "abab":
        answer = client.post(CHAT, json=ask(model=model))
        assert (answer.status_code, answer.headers["x-roundhouse-model"]) == (200, model)
    assert house.states() == {"a": "sleeping", "b": "ready", "c": "cold"}
    assert house.loads() == {"a": 1, "b": 1}
    assert shed.turns == [
        "a sleeps at 1", "b sleeps at 1", "a wakes", "a sleeps at 1", "b wakes",
    ]  # fmt: skip
    assert client.post(CHAT, json=ask(model="c")).status_code == 200
    assert house.states() == {"a": "sleeping", "b": "sleeping", "c": "ready"}
    assert client.post("/admin/models/a/unload", json={"wait": True}).status_code == 200
    assert house.states()["a"] == "cold"


def test_auto_may_choose_a_model_that_is_not_loaded(open_house: Open, http: Http) -> None:
    house = open_house({"a": gguf(load="on_demand")})
    answer = http(house).post(CHAT, json=ask(model="auto"))
    assert answer.status_code == 200
    assert answer.headers["x-roundhouse-model"] == "a"


def metrics(client: httpx.Client) -> str:
    return client.get("/metrics").text
