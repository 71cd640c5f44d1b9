"""The prefix benchmark: its traces, its model of an engine, and that it can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from benchmarks import (
    conversations,
    decision_cost,
    machine,
    prefix_report,
    prefix_routing,
    real_replicas,
    targets,
)
from benchmarks.cache_simulation import Engine, Step, prepare, simulate, spread
from benchmarks.conversations import Trace
from benchmarks.prefix_report import OURS, Row, show
from benchmarks.real_replicas import Cached, Run, counters
from common.config import Config
from router.call import NO_CALL
from router.policies import POLICIES
from router.policies.round_robin import RoundRobin
from tests.fakes.running import FakeEngine
from tests.gateway.house import House

ROW = Row("simulated", "chats", 2, OURS, 0.8, 0.95, 1.1, 1.2)


def test_a_small_run_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "prefix.json"
    options = ["--only", "simulated", "--scale", "0.1", "--strict", "--out", str(out)]
    code = prefix_routing.main(options)
    made = json.loads(out.read_text())
    assert code == int(any(row["reached"] is False for row in made["rows"]))
    assert {row["policy"] for row in made["rows"]} >= set(POLICIES)
    assert {row["trace"] for row in made["rows"]} == {t.name for t in conversations.traces(0.1)}
    assert {cost["replicas"] for cost in made["costs"]} == {None, 2, 8, 32}
    shown = capsys.readouterr().out
    assert "max/mean requests" in shown
    assert "Cost of a decision" in shown


def test_the_simulation_is_the_same_every_time() -> None:
    assert list(prefix_routing.simulated(0.05)) == list(prefix_routing.simulated(0.05))
    assert list(prefix_routing.simulated(0.05, seed=1)) != list(prefix_routing.simulated(0.05))


def test_ours_misses_far_less_than_a_policy_that_does_not_look() -> None:
    rows = {(r.trace, r.policy): r for r in prefix_routing.simulated(0.15) if r.replicas == 4}
    for trace in ("chats", "system prompts", "agents"):
        ours, blind = rows[trace, OURS], rows[trace, "round_robin"]
        assert 1 - ours.hit_ratio < 0.6 * (1 - blind.hit_ratio)
    assert rows["distinct", OURS].hit_ratio == 0.0


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (ROW, True),
        (replace(ROW, of_single=0.89), False),
        (replace(ROW, requests_spread=1.26), False),
        (replace(ROW, second_spread=1.26), False),
        (replace(ROW, of_single=None), True),
        (replace(ROW, of_single=None, requests_spread=1.3), False),
        (replace(ROW, policy="round_robin", of_single=0.1), None),
        (replace(ROW, replicas=1), None),
    ],
)
def test_what_was_not_reached_is_told(row: Row, reached: bool | None) -> None:
    assert row.reached is reached


@pytest.mark.parametrize(
    ("row", "figures"),
    [
        (
            ROW,
            [
                "hits 95.0% of one replica's (wanted: >= 90%)",
                "max/mean load 1.20 (wanted: <= 1.25)",
            ],
        ),
        (
            replace(ROW, of_single=None, second_spread=1.3),
            ["no prefix to gain by", "max/mean load 1.30 (wanted: <= 1.25)"],
        ),
    ],
)
def test_the_targets_stand_below_the_tables(
    row: Row, figures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    show([replace(ROW, policy="round_robin"), row], [])
    verdict = f"{'reached' if row.reached else 'MISSED '}  simulated, chats, 2 replicas: "
    assert capsys.readouterr().out.splitlines()[-1] == verdict + ", ".join(figures)


def test_a_run_that_does_not_reach_it_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = ["--only", "simulated", "--scale", "0.1", "--out", str(tmp_path / "prefix.json")]
    monkeypatch.setattr(prefix_routing, "simulated", lambda *_: [replace(ROW, of_single=0.5)])
    assert prefix_routing.main([*options, "--strict"]) == 1
    assert prefix_routing.main(options) == 0
    monkeypatch.setattr(prefix_routing, "simulated", lambda *_: [ROW])
    assert prefix_routing.main([*options, "--strict"]) == 0


def test_without_a_path_the_figures_stand_with_this_machines_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prefix_report, "RESULTS", tmp_path)
    monkeypatch.setattr(prefix_routing, "simulated", lambda *_: [ROW])
    assert prefix_routing.main(["--only", "simulated", "--scale", "0.01"]) == 0
    (written,) = tmp_path.glob("*/*/prefix.json")
    assert written.parent.parent.name == machine.describe().name
    assert json.loads(written.read_text())["rows"][0]["policy"] == OURS


# Real engines, played


def test_each_policy_holds_both_traces_and_is_set_against_the_single_replica(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"one": 0.6, OURS: 0.57, "least_loaded": 0.4, "round_robin": 0.3}

    def run(
        folder: str, replicas: int, policy: str, traces: Sequence[Trace], held: int, logs: Path
    ) -> Iterator[Run]:
        for trace in traces:
            ratio = found["one" if replicas == 1 else policy] if trace.gains else 0.0
            yield Run(trace, replicas, policy, ratio, 1.0, 1.1, {}, {})

    monkeypatch.setattr(prefix_routing.real_replicas, "run", run)
    monkeypatch.setattr(prefix_routing.sources, "resolve", lambda *_: Path("folder"))
    rows = list(prefix_routing.real("source", seed=0))
    assert [(r.trace, r.replicas, r.policy) for r in rows[::2]] == [
        ("conversations", 1, "one replica"),
        *(("conversations", 2, name) for name in (OURS, "least_loaded", "round_robin")),
    ]
    assert [r.of_single for r in rows[::2]] == pytest.approx([1.0, 0.95, 2 / 3, 0.5])
    assert {(r.trace, r.of_single) for r in rows[1::2]} == {("distinct", None)}
    assert [r.reached for r in rows if r.policy == OURS] == [True, True]


def test_a_trace_is_held_and_every_replicas_counters_are_read() -> None:
    with ExitStack() as stack:
        engines = [stack.enter_context(FakeEngine(model=real_replicas.MODEL)) for _ in range(2)]
        config = {
            "server": {"api_keys": [targets.API_KEY]},
            "models": {
                real_replicas.MODEL: {"source": [e.url for e in engines], "engine": "openai"}
            },
        }
        house = House(Config.model_validate(config))
        house.start()
        stack.callback(house.stop)
        trace = conversations.small_distinct(12, seed=0)
        before = real_replicas.measure(house.url, 2, OURS, trace, 4)
        run = real_replicas.measure(house.url, 2, OURS, trace, 4)
    assert sum(run.requests.values()) == trace.requests == 12
    assert run.requests.keys() == run.cached.keys() == {"bench-0", "bench-1"}
    assert (run.hit_ratio, run.trace) == (0.0, trace)
    asked = [sum(each.queries for each in told.cached.values()) for told in (before, run)]
    assert asked[0] == asked[1] > 0


def test_the_distinct_prompts_are_as_long_as_the_others_and_share_nothing() -> None:
    talks, alone = conversations.small(40, 0), conversations.small_distinct(40, 0)
    prompts = [each.messages(0)[-1]["content"] for each in alone.conversations]
    assert len({prompt[:64] for prompt in prompts}) == 40
    long = [len(t.system) + len(t.turns[0].user) for t in talks.conversations]
    assert mean(map(len, prompts)) == pytest.approx(mean(long), rel=0.2)


# Traces


def test_every_turn_goes_on_from_the_one_before() -> None:
    for trace in (*conversations.traces(0.05), conversations.small(10, seed=3)):
        for each in trace.conversations:
            for turn in range(1, len(each.turns)):
                before = each.messages(turn - 1)
                assert each.messages(turn)[: len(before)] == before


def test_real_answers_take_the_place_of_made_up_ones() -> None:
    talk = next(c for c in conversations.small(10, seed=0).conversations if len(c.turns) > 2)
    answers = [each["content"] for each in talk.messages(2, ["yes"]) if each["role"] == "assistant"]
    assert answers == ["yes", talk.turns[1].answer]


def test_one_prompt_in_common_is_asked_most() -> None:
    systems = [each.system for each in conversations.traces(0.5)[1].conversations]
    counted = sorted((systems.count(system) for system in set(systems)), reverse=True)
    assert counted[0] > 3 * counted[len(counted) // 2]


# The engine's model


def step(*prompt: int, answer: tuple[int, ...] = ()) -> Step:
    return Step(NO_CALL, prompt, prompt + answer, 10, 1.0)


def test_an_engine_finds_what_it_has_and_forgets_the_oldest() -> None:
    engine = Engine("m-0", capacity=4)
    assert engine.begin(step(1, 2), 0.0) > engine.begin(step(1, 2), 0.0) > 0.0
    assert (engine.asked, engine.hits, engine.in_flight) == (4, 2, 2)
    engine.end(step(1, 2, answer=(3,)), 1.0)
    engine.begin(step(1, 2, 3, 4), 1.0)
    assert engine.hits == 5
    engine.begin(step(8, 9), 1.0)
    engine.begin(step(1, 2, 3, 4), 2.0)
    assert engine.hits == 7  # the ends 3 and 4 had gone
    assert engine.busy_s == 2 * 1.0 + 3 * 1.0


def test_one_engine_large_enough_finds_all_but_what_is_new() -> None:
    trace = conversations.traces(0.05)[0]
    scripts = prepare(trace)
    engine = Engine("m-0", capacity=1 << 30)
    found = simulate(scripts, RoundRobin(), [engine], 4)
    asked = sum(len(step.prompt) for script in scripts for step in script)
    again = sum(len(a.with_answer) for script in scripts for a in script[:-1])
    assert engine.served == trace.requests
    assert (engine.asked, engine.in_flight, engine.tokens_in_flight) == (asked, 0, 0)
    assert found.hit_ratio == pytest.approx(again / asked, rel=0.02)


def test_the_policy_hears_what_the_engines_count() -> None:
    class Listening(RoundRobin):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[float] = []

        def observe(self, replica_id: str, hit_ratio: float) -> None:
            self.heard.append(hit_ratio)

    policy = Listening()
    found = simulate(prepare(conversations.traces(0.2)[2]), policy, [Engine("m-0", 3000)], 8)
    assert len(policy.heard) > 10
    assert mean(policy.heard) == pytest.approx(found.hit_ratio, abs=0.03)


def test_spread_is_one_when_even() -> None:
    assert spread([5, 5, 5]) == 1.0
    assert spread([9, 0, 0]) == 3.0


# The rest


def test_every_policy_is_timed() -> None:
    costs = list(decision_cost.measure(20))
    assert {cost.what for cost in costs} == {"take apart", *POLICIES}
    assert all(0 < cost.p50_ms <= cost.p99_ms for cost in costs)


def test_counters_are_read_by_replica() -> None:
    page = (
        "# TYPE vllm:prefix_cache_queries_total counter\n"
        'vllm:prefix_cache_queries_total{engine="0",model="bench",replica="bench-0"} 100.0\n'
        'vllm:prefix_cache_queries_total{engine="0",model="bench",replica="bench-1"} 40.0\n'
        "# TYPE vllm:prefix_cache_hits_total counter\n"
        'vllm:prefix_cache_hits_total{engine="0",model="bench",replica="bench-0"} 60.0\n'
        "# TYPE other_total counter\n"
        "other_total 7.0\n"
    )
    assert counters(page) == {"bench-0": Cached(100.0, 60.0), "bench-1": Cached(40.0, 0.0)}
