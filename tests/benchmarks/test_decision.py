"""The benchmark of a decision's cost: what it sends, and what it makes of the figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import decision
from benchmarks.decision import AUTO, DIRECT, POINTS, Found, Row, bodies, mean_decision_ms, rows
from benchmarks.load import Quantiles
from benchmarks.samples import Sample, Spread
from common.config import Config
from common.quality_config import TASKS
from tests.benchmarks.test_samples import result

QUESTIONS, LONG = POINTS


def sample(number: int, target: str, p50_ms: float, p99_ms: float) -> Sample:
    ttft = Quantiles(p50_ms / 1e3, p50_ms / 1e3, p50_ms / 1e3, p99_ms / 1e3)
    return Sample(number, target, QUESTIONS.name, replace(result(1), ttft_s=ttft), 0.0)


SAMPLES = (
    sample(0, DIRECT, 1.0, 4.0),
    sample(0, AUTO, 1.5, 8.0),
    sample(1, AUTO, 1.9, 9.0),
    sample(1, DIRECT, 1.0, 5.0),
)


def test_both_sides_get_the_same_prompts_and_every_round_others() -> None:
    by_name, auto = (
        [json.loads(body) for body in bodies(QUESTIONS, name, 1)] for name in (DIRECT, AUTO)
    )
    assert [body["messages"] for body in by_name] == [body["messages"] for body in auto]
    assert {body["model"] for body in by_name} == {DIRECT}
    assert bodies(QUESTIONS, AUTO, 1) != bodies(QUESTIONS, AUTO, 2)
    assert len({body["user"] for body in auto}) == len(auto), "no two are the same conversation"


def test_long_chats_are_long() -> None:
    body = bodies(LONG, AUTO, 0)[0]
    roles = [message["role"] for message in json.loads(body)["messages"]]
    assert roles == ["system", *("user", "assistant") * 4, "user"]
    assert 14_000 < len(body) < 22_000


def test_auto_would_never_take_the_model_that_is_asked_by_name() -> None:
    models = decision.models("http://127.0.0.1:1")
    config = Config.model_validate({"models": models})
    assert set(config.models[DIRECT].quality.values()) == {0.0}
    for name in (decision.CODER, decision.WRITER):
        assert len(config.models[name].sources) == 2
        assert all(config.models[name].quality[task] >= 0.5 for task in TASKS)


def test_what_was_added_is_told_within_each_round() -> None:
    p50, p99 = rows(SAMPLES, [QUESTIONS])
    assert (p50.quantile, p99.quantile) == ("p50", "p99")
    assert p50.added.median == pytest.approx(0.7)
    assert (p50.added.least, p50.added.greatest) == pytest.approx((0.5, 0.9))
    assert (p50.reached, p99.reached) == (True, False)
    assert p99.verdict == "questions: +4.00 ms at p99 (wanted: at most 3 ms)"


@pytest.mark.parametrize(("added_ms", "reached"), [(1.0, True), (1.01, False), (-0.2, True)])
def test_the_target(added_ms: float, reached: bool) -> None:
    spread = Spread(added_ms, added_ms, added_ms)
    assert Row("questions", "p50", spread, spread, spread, 1.0).reached is reached


PAGE = """\
roundhouse_route_decision_seconds_bucket{le="0.001"} 3.0
roundhouse_route_decision_seconds_count 4.0
roundhouse_route_decision_seconds_sum 0.002
"""


def test_the_routers_own_count_is_read() -> None:
    assert mean_decision_ms(PAGE) == pytest.approx(0.5)
    assert mean_decision_ms("") is None
    assert mean_decision_ms("roundhouse_route_decision_seconds_count 0.0\n") is None


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *options: str, samples: tuple[Sample, ...]
) -> int:
    found = Found(rows(samples, [QUESTIONS]), samples, 0.5)
    monkeypatch.setattr(decision, "measure", lambda points, count, logs: found)
    return decision.main(["--out", str(tmp_path / "d" / "decision.json"), *options])


def test_figures_are_written_and_a_miss_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, samples=SAMPLES) == 0
    shown = capsys.readouterr()
    assert "reached  questions: +0.70 ms at p50" in shown.out
    assert "MISSED   questions: +4.00 ms at p99" in shown.out
    assert (
        shown.err == "target missed: decision, questions: +4.00 ms at p99 (wanted: at most 3 ms)\n"
    )
    document = json.loads((tmp_path / "d" / "decision.json").read_text())
    assert [row["reached"] for row in document["rows"]] == [True, False]
    assert document["decision_ms"] == 0.5
    assert len(document["samples"]) == 4
    assert run(monkeypatch, tmp_path, "--strict", samples=SAMPLES) == 1


def test_a_request_that_failed_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = replace(SAMPLES[0], result=replace(SAMPLES[0].result, failures={"HTTP 500": 2}))
    assert run(monkeypatch, tmp_path, samples=(failed, *SAMPLES[1:])) == 1
    assert "2 requests FAILED" in capsys.readouterr().out
