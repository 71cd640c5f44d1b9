"""One page for a scraper: the router's own series, and every engine's beside them."""

from __future__ import annotations

from collections.abc import Callable

import httpx2 as httpx
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from engines.base import State
from gateway.metrics import merge_families
from router.replicas import Replica
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, ask
from tests.gateway.raw import raw_engine

Http = Callable[..., httpx.Client]
Labels = dict[str, str]


def families(text: str) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(text))
    names = [family.name for family in found]
    assert len(names) == len(set(names)), "a family stands twice"
    return {family.name: family for family in found}


def value(page: dict[str, Metric], family: str, sample: str, **labels: str) -> float:
    matching = [
        s.value
        for s in page[family].samples
        if s.name == sample and labels.items() <= s.labels.items()
    ]
    assert len(matching) == 1, (sample, labels, page[family].samples)
    return matching[0]


@pytest.fixture
def house(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    return build(one, two, models={"other": {"source": two.url}})


def test_it_is_prometheus_text(house: House, http: Http) -> None:
    answer = http(house).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    assert families(answer.text)


def test_requests_are_counted_and_timed(house: House, http: Http) -> None:
    client = http(house)
    for _ in range(3):
        client.post(CHAT, json=ask(stream=True))
    client.post("/v1/completions", json=ask() | {"model": "other"})
    page = families(client.get("/metrics").text)
    counted = ("roundhouse_requests", "roundhouse_requests_total")
    assert value(page, *counted, model="m", route=CHAT, status="200") == 3
    assert value(page, *counted, model="other", route="/v1/completions", status="200") == 1
    for name in ("overhead", "ttft", "request"):
        family = f"roundhouse_{name}_seconds"
        assert value(page, family, f"{family}_count", model="m") == 3
        assert value(page, family, f"{family}_bucket", model="m", le="+Inf") == 3
        assert 0 < value(page, family, f"{family}_sum", model="m") < 10
    sums = [
        value(page, f"roundhouse_{name}_seconds", f"roundhouse_{name}_seconds_sum", model="m")
        for name in ("overhead", "ttft", "request")
    ]
    assert sums == sorted(sums)


def test_what_was_believed_to_be_cached_is_told(house: House, http: Http) -> None:
    client = http(house)
    talk = ""
    for turn in range(4):  # a conversation that doubles, of 1, 2, 4 and 8 KiB
        talk += "".join(f"{turn}{n:03} words..... " for n in range(64 << max(0, turn - 1)))
        client.post(CHAT, json=ask() | {"messages": [{"role": "user", "content": talk}]})
    client.post(CHAT, json=ask())  # shorter than a block
    page = families(client.get("/metrics").text)
    family = "roundhouse_route_prefix_match_ratio"
    assert page[family].type == "histogram"
    bounds = ("0.0", "0.25", "0.5", "1.0", "+Inf")
    told = [value(page, family, f"{family}_bucket", model="m", le=le) for le in bounds]
    assert told == [1, 1, 4, 4, 4]
    assert value(page, family, f"{family}_count", model="m") == 4
    assert value(page, family, f"{family}_sum", model="m") == 1.5
    assert value(page, family, f"{family}_count", model="other") == 0


def test_only_policies_that_look_at_prefixes_tell_of_them(
    build: Build, one: FakeEngine, http: Http
) -> None:
    client = http(build(one, router={"policy": "least_loaded"}))
    client.post(CHAT, json=ask())
    page = families(client.get("/metrics").text)
    assert page["roundhouse_route_prefix_match_ratio"].samples == []


def test_replicas_and_lines_are_gauges(house: House, one: FakeEngine, http: Http) -> None:
    house.report("m-1", None)
    one.behave(mode="stall_after", n=1)
    client = http(house)
    with client.stream("POST", CHAT, json=ask(stream=True)):
        page = families(client.get("/metrics").text)
    for family, expected in {
        "roundhouse_replica_up": {"m-0": 1, "m-1": 0, "other-0": 1},
        "roundhouse_in_flight": {"m-0": 1, "m-1": 0, "other-0": 0},
        "roundhouse_replica_restarts": {"m-0": 0, "m-1": 0, "other-0": 0},
    }.items():
        assert {s.labels["replica"]: s.value for s in page[family].samples} == expected
    assert {s.labels["model"]: s.value for s in page["roundhouse_queued"].samples} == {
        "m": 0,
        "other": 0,
    }


def test_the_engines_series_stand_beside_them(
    house: House, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(house)
    client.post(CHAT, json=ask(5))
    client.post(CHAT, json=ask(7))
    page = families(client.get("/metrics").text)
    tokens = page["vllm:generation_tokens"]
    assert tokens.type == "counter"
    told = {s.labels["replica"]: (s.labels["model"], s.value) for s in tokens.samples}
    assert told == {"m-0": ("m", 5), "m-1": ("m", 7), "other-0": ("other", 7)}
    assert {s.name for s in tokens.samples} == {"vllm:generation_tokens_total"}
    assert {s.labels["model_name"] for s in tokens.samples} == {"m"}
    assert {name for name in page if name.startswith("vllm:")} == {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prompt_tokens",
        "vllm:generation_tokens",
        "vllm:prefix_cache_queries",
        "vllm:prefix_cache_hits",
    }


def test_only_ready_replicas_are_asked(house: House, http: Http) -> None:
    house.report("m-0", None)
    page = families(http(house).get("/metrics").text)
    replicas = {s.labels["replica"] for s in page["vllm:num_requests_running"].samples}
    assert replicas == {"m-1", "other-0"}


@pytest.mark.parametrize(
    "fault",
    [{"mode": "status", "status": 500}, {"mode": "cut_before_first_byte"}, {"mode": "exit"}],
    ids=lambda fault: str(fault["mode"]),
)
def test_an_engine_that_fails_is_left_out(
    build: Build, mortal: FakeEngine, two: FakeEngine, http: Http, fault: dict[str, object]
) -> None:
    mortal.behave(**fault, path="/metrics")
    answer = http(build(mortal, two)).get("/metrics")
    page = families(answer.text)
    assert answer.status_code == 200
    replicas = {s.labels["replica"] for s in page["vllm:num_requests_running"].samples}
    assert replicas == {"m-1"}
    assert "roundhouse_requests" in page


@pytest.mark.parametrize(
    "page", [b"this is { no metrics page\n", b"vllm:x{a=\n", b'vllm:x{a="1"} many\n', b"\xff\xfe"]
)
def test_an_engine_that_writes_nonsense_is_left_out(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, page: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(page)
    with raw_engine(head + page) as raw:
        house = build(models={"m": {"source": [raw.url, two.url]}})
        answer = http(house).get("/metrics")
    assert answer.status_code == 200
    samples = families(answer.text)["vllm:num_requests_running"].samples
    assert {s.labels["replica"] for s in samples} == {"m-1"}


DECIDED = ("roundhouse_route_decisions", "roundhouse_route_decisions_total")


def test_decisions_are_counted_by_task_model_and_reason(house: House, http: Http) -> None:
    client = http(house)
    code = {"role": "user", "content": "Write a Python function that reverses a list."}
    for name in ("auto", "auto", "auto:math", "m"):
        client.post(CHAT, json=ask() | {"model": name, "messages": [code]})
    client.post("/v1/route", json={"prompt": "hello"})
    page = families(client.get("/metrics").text)
    counted = {
        (s.labels["task"], s.labels["reason"]): s.value
        for s in page[DECIDED[0]].samples
        if s.name == DECIDED[1]
    }
    # The same first message is the same conversation.
    assert counted == {("code", "balanced"): 1, ("code", "stays"): 1, ("math", "named-task"): 1}
    took = "roundhouse_route_decision_seconds"
    assert value(page, took, f"{took}_count") == 3
    assert 0 < value(page, took, f"{took}_sum") < 1


def test_the_only_model_is_told_as_such(build: Build, one: FakeEngine, http: Http) -> None:
    house = build(one)
    client = http(house)
    client.post(CHAT, json=ask() | {"model": "auto"})
    page = families(client.get("/metrics").text)
    assert value(page, *DECIDED, model="m", reason="only-candidate") == 1


def test_every_promised_series_has_its_name_and_labels(
    build: Build, one: FakeEngine, two: FakeEngine, engines: list[FakeEngine], http: Http
) -> None:
    """A dashboard goes by these."""
    for bad in (one, engines[2]):
        bad.behave(mode="status", status=500)
    house = build(
        one,
        engines[2],
        models={"other": {"source": two.url}},
        router={
            "fallbacks": {"m": ["other"]},
            "policy": "prefix_aware",
            "retry": {"backoff": "1ms"},
        },
    )
    client = http(house)
    client.post(CHAT, json=ask())
    client.post(CHAT, json=ask() | {"model": "auto"})
    page = families(client.get("/metrics").text)
    wanted = {
        "roundhouse_route_decisions": {"task", "model", "reason"},
        "roundhouse_route_decision_seconds": set(),
        "roundhouse_route_prefix_match_ratio": {"model"},
        "roundhouse_retries": {"model", "reason"},
        "roundhouse_fallbacks": {"from", "to", "reason"},
        "roundhouse_breaker_state": {"model", "replica"},
        "roundhouse_ttft_seconds": {"model"},
        "roundhouse_in_flight": {"model", "replica"},
    }
    for name, labels in wanted.items():
        assert name in page, name
        assert page[name].samples, name
        for sample in page[name].samples:
            assert set(sample.labels) - {"le"} == labels, name


ENGINE_PAGE = """
# HELP vllm:e2e_request_latency_seconds Histogram of e2e request latency.
# TYPE vllm:e2e_request_latency_seconds histogram
vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.3",model_name="a \\"b\\""} 1.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="a \\"b\\""} 2.0
vllm:e2e_request_latency_seconds_count{engine="0",model_name="a \\"b\\""} 2.0
vllm:e2e_request_latency_seconds_sum{engine="0",model_name="a \\"b\\""} 1.5
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 1204.0
"""


def test_families_are_merged_by_name_with_their_type_and_help() -> None:
    replicas = [Replica(f"m-{i}", "m", 1, state=State.READY) for i in range(2)]
    merged = merge_families(dict.fromkeys(replicas, ENGINE_PAGE))
    assert [family.name for family in merged] == ["vllm:e2e_request_latency_seconds"]
    (family,) = merged
    assert (family.type, family.documentation) == (
        "histogram",
        "Histogram of e2e request latency.",
    )
    assert len(family.samples) == 8
    assert [s.labels["replica"] for s in family.samples] == ["m-0"] * 4 + ["m-1"] * 4
    assert {s.labels["model_name"] for s in family.samples} == {'a "b"'}
