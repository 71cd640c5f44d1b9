"""Measurements on disk: kept, bounded, shared, and never in a start's way."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from placement.calibration import store
from placement.calibration.measurement import Measurement, measure
from placement.calibration.startup_report import StartupReport
from placement.footprint.estimate import estimate
from tests.placement.starts import H100, SETTINGS, facts, predicted, told

ROOT = Path(__file__).resolve().parents[2]


def measured(minute: int = 0, max_num_seqs: int = 8) -> Measurement:
    settings = replace(SETTINGS, max_num_seqs=max_num_seqs)
    report = replace(told(weights=8.2, activation=1.3, non_torch=0.4), max_concurrency=2.5)
    at = f"2026-11-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00+00:00"
    return measure(predicted(settings=settings), report, at)


def test_nothing_is_known_at_first() -> None:
    assert store.load().measurements == ()
    assert not store.path().parent.exists()  # nor does looking leave anything


def test_what_was_added_is_there_again() -> None:
    store.add(measured(1))
    store.add(measured(2, max_num_seqs=16))
    assert store.load().measurements == (measured(1), measured(2, max_num_seqs=16))
    settings = replace(SETTINGS, max_num_seqs=16)
    found = store.load().term("activation", facts(), settings, H100, 0)
    assert found is not None
    assert found[1] == "reported by 1 start of qwen3-14b"


def test_the_file_lies_with_the_users_other_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store.add(measured())
    assert store.path() == tmp_path / "state" / "roundhouse" / "calibration.json"
    assert store.path().parent.stat().st_mode & 0o077 == 0
    assert json.loads(store.path().read_text())["version"] == store.VERSION


def test_only_the_newest_starts_of_a_kind_are_kept() -> None:
    for minute in range(store.KEPT_PER_CONDITIONS + 3):
        store.add(measured(minute))
    store.add(measured(0, max_num_seqs=16))
    kept = store.load().measurements
    assert len(kept) == store.KEPT_PER_CONDITIONS + 1
    assert kept[0] == measured(0, max_num_seqs=16)
    assert kept[1:] == tuple(measured(m) for m in range(3, store.KEPT_PER_CONDITIONS + 3))


def test_the_number_of_kinds_is_bounded_as_well() -> None:
    many = [measured(n, max_num_seqs=n + 1) for n in range(store.KEPT_IN_ALL + 5)]
    assert store.newest(many) == many[5:]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "has version None"),
        ('{"version": 99, "measurements": []}', "has version 99, and this Roundhouse reads 1"),
        ('{"version": 1}', "measurements: Field required"),
        ('{"version": 1, "measurements": [{"model": 3}]}', "measurements.0"),
        ("[" * 100_000, "recursion"),
        ("\udcff", "decode"),
    ],
)
def test_an_unreadable_file_is_told_of_once_and_set_aside(
    text: str, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.path().parent.mkdir(parents=True)
    store.path().write_bytes(text.encode(errors="surrogateescape"))
    with caplog.at_level(logging.WARNING):
        assert store.load().measurements == ()
        store.add(measured())
        assert len(store.load().measurements) == 1
    assert len(caplog.messages) == 1
    assert complaint in caplog.messages[0]
    aside = store.path().with_suffix(".unreadable.json")
    assert str(aside) in caplog.messages[0]
    assert aside.read_bytes() == text.encode(errors="surrogateescape")


def test_what_a_later_version_adds_to_a_measurement_is_ignored() -> None:
    store.add(measured())
    data = json.loads(store.path().read_text())
    data["measurements"][0]["mood"] = "sunny"
    store.path().write_text(json.dumps(data))
    assert store.load().measurements == (measured(),)


def test_a_place_that_cannot_be_used_fails_no_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    store.add(measured())
    assert store.load().measurements == ()
    assert "cannot be written" in caplog.messages[0]
    assert "cannot be read" in caplog.messages[1]


def test_a_start_is_learnt_from_beside_its_cold_prediction() -> None:
    planned = replace(predicted(), basis="calibrated")
    report = replace(told(weights=8.2, activation=1.3), vllm_version="0.33.0")
    measurement = store.learn(planned, report)
    cold = estimate(planned.facts, replace(SETTINGS, vllm_version=(0, 33, 0)), H100)
    assert measurement.predicted["activation"] == cold.term("activation")
    assert measurement.conditions.version == (0, 33, 0)  # what ran, whatever was planned
    assert datetime.now(UTC) - datetime.fromisoformat(measurement.taken_at) < timedelta(minutes=1)
    assert store.load().measurements == (measurement,)


def test_a_start_that_told_nothing_is_not_kept() -> None:
    store.learn(predicted(), StartupReport(vllm_version="0.32.0"))
    assert store.load().measurements == ()


ADD = """
import sys
from tests.placement.calibration.test_store import measured, store
for number in range(10):
    store.add(measured(number, max_num_seqs=int(sys.argv[1]) * 100 + number + 1))
"""


def test_those_who_add_at_once_do_not_lose_each_others() -> None:
    command = [sys.executable, "-c", ADD]
    adding = [subprocess.Popen([*command, str(n)], cwd=ROOT) for n in range(3)]
    assert [process.wait(60) for process in adding] == [0] * 3
    seqs = {m.conditions.max_num_seqs for m in store.load().measurements}
    assert seqs == {n * 100 + number + 1 for n in range(3) for number in range(10)}
    assert {file.name for file in store.path().parent.iterdir()} == {
        "calibration.json",
        "calibration.lock",
    }
