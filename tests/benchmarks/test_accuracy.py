"""The benchmark of placement's accuracy: its checks can fail, and its data is complete."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import accuracy, placement
from benchmarks.accuracy import Check, Miss
from benchmarks.starts import Figure, Start, load


@pytest.fixture(scope="module")
def starts() -> list[Start]:
    return load()


def test_each_start_has_what_it_needs(starts: list[Start]) -> None:
    assert len(starts) == len({start.id for start in starts}) == 84
    assert all(start.source for start in starts)
    assert all(start.why for start in starts if start.failed)
    assert sum(start.facts is not None for start in starts) == 81


@pytest.mark.parametrize(
    ("text", "value", "half"), [("58.11", 58.11, 0.005), ("14.9888", 14.9888, 0.00005), ("7", 7, 0)]
)
def test_a_printed_figure_stands_for_an_interval(text: str, value: float, half: float) -> None:
    found = Figure.of(text)
    assert (found.value, found.half) == (pytest.approx(value), pytest.approx(half))


def test_targets_are_reached(starts: list[Start]) -> None:
    found = accuracy.checks(starts)
    assert [check.name for check in found if not check.ok] == []
    assert all(check.rows >= 5 for check in found)


def test_wrong_weights_are_a_miss(starts: list[Start]) -> None:
    start = next(s for s in starts if s.id == "llmd-024")
    wrong = replace(start, reported={**start.reported, "weights_gib": "15.10"})
    found = accuracy.weights([start, wrong])
    assert (found.passed, [miss.id for miss in found.misses]) == (1, ["llmd-024"])
    assert not found.ok


def test_wrong_tokens_are_a_miss(starts: list[Start]) -> None:
    start = next(s for s in starts if s.id == "llmd-024")
    wrong = replace(start, reported={**start.reported, "kv_cache_tokens": "477000"})
    assert accuracy.tokens([start], kinds=False).ok
    assert not accuracy.tokens([wrong], kinds=False).ok


def test_a_failed_start_that_is_said_to_fit_is_a_miss(starts: list[Start]) -> None:
    start = next(s for s in starts if s.id == "llmd-024")
    found = accuracy.false_fits([replace(start, failed=True)])
    assert not found.ok


def test_what_a_log_cannot_decide_is_shown_but_not_counted() -> None:
    miss = Miss("a", 1.0, 2.0, "why", undecidable=True)
    found = Check("x", "all", 1.0, passed=3, misses=(miss,), errors=())
    assert (found.rows, found.undecidable, found.ok) == (4, 1, True)
    assert not replace(found, misses=(replace(miss, undecidable=False),)).ok
    assert not replace(found, passed=0).ok


def test_writes_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(placement, "_plan_ms", lambda starts: [1.0])
    monkeypatch.setattr(placement, "load", lambda: load()[-4:])
    monkeypatch.setattr(accuracy, "checks", lambda starts: [accuracy.weights(starts)])
    out = tmp_path / "figures" / "placement.json"
    placement.main(["--out", str(out)])
    document = json.loads(out.read_text())
    assert document["checks"][0]["name"] == "weights"
    assert document["checks"][0]["rows"] == 4
    assert "phi4-bnb" in capsys.readouterr().out
