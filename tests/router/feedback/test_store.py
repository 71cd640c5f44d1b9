"""The store: bounded, fading, shared by processes, and whole after any death."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.errors import BadRequestError
from router.feedback.posterior import Tally
from router.feedback.signals import outcome, rating
from router.feedback.store import Limits, Routed, Store

DAY_S = 86_400.0
ROOT = Path(__file__).resolve().parents[3]
A, B = Routed("code", "a"), Routed("math", "b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "feedback.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with closing(Store(file)) as opened:
        yield opened


def test_feedback_names_a_request_and_counts_for_who_answered_it(store: Store) -> None:
    store.remember("one", A, now=0.0)
    store.remember("two", B, now=0.0)
    assert store.record("one", rating("up"), now=1.0) == A
    assert store.record("two", rating(2), now=1.0) == B
    assert store.tallies(1.0) == {("code", "a"): Tally(1.0, 1.0), ("math", "b"): Tally(0.25, 1.0)}


def test_a_later_rating_replaces_the_former_and_a_check_counts_beside_it(store: Store) -> None:
    store.remember("one", A, now=0.0)
    for said in ("down", "down", "up"):
        store.record("one", rating(said), now=1.0)
    assert store.tallies(1.0) == {("code", "a"): Tally(1.0, 1.0)}
    store.record("one", outcome("tests_failed"), now=1.0)
    assert store.tallies(1.0) == {("code", "a"): Tally(1.0, 2.0)}
    store.record("one", outcome("answers_agree"), now=1.0)
    assert store.tallies(1.0) == {("code", "a"): Tally(1.5, 2.5)}
    assert store.count() == 3


def test_an_unknown_request_cannot_be_rated_and_nothing_is_lost_by_the_try(store: Store) -> None:
    store.remember("one", A, now=0.0)
    with pytest.raises(BadRequestError, match="'two' cannot be rated") as refused:
        store.record("two", rating("up"), now=1.0)
    assert refused.value.param == "request_id"
    assert store.record("one", rating("up"), now=1.0) == A


def test_request_ids_expire(file: Path) -> None:
    with closing(Store(file, Limits(remember_s=100.0))) as store:
        store.remember("one", A, now=0.0)
        store.flush(now=100.0)
        assert store.record("one", rating("up"), now=100.0) == A
        with pytest.raises(BadRequestError, match="older than 1m 40s"):
            store.record("one", rating("up"), now=100.1)


def test_no_more_requests_are_remembered_than_allowed(file: Path) -> None:
    with closing(Store(file, Limits(max_requests=10))) as store:
        for n in range(25):
            store.remember(str(n), A, now=float(n))
            if n == 7:
                store.flush(now=7.0)
        store.flush(now=25.0)
        known = []
        for n in range(25):
            try:
                store.record(str(n), rating("up"), now=25.0)
            except BadRequestError:
                continue
            known.append(n)
        assert known == list(range(15, 25))


def test_ratings_fade_by_the_day(store: Store) -> None:
    store.remember("one", A, now=0.0)
    store.record("one", rating("up"), now=0.0)
    for days in (0, 1, 10, 138):
        tally = store.tallies(days * DAY_S)["code", "a"]
        assert tally.weight == pytest.approx(0.995**days)
        assert tally.reward == pytest.approx(0.995**days)
    store.flush(now=3 * 365 * DAY_S)
    assert store.tallies(3 * 365 * DAY_S) == {}


def test_a_clock_that_was_set_back_does_not_make_ratings_grow(store: Store) -> None:
    store.remember("one", A, now=10 * DAY_S)
    store.record("one", rating("up"), now=10 * DAY_S)
    assert store.tallies(0.0) == {("code", "a"): Tally(1.0, 1.0)}


def test_it_can_be_reset_by_model_by_task_and_whole(store: Store) -> None:
    for n, routed in enumerate([A, B, Routed("math", "a")]):
        store.remember(str(n), routed, now=0.0)
        store.record(str(n), rating("up"), now=0.0)
    assert store.reset(model="a", task="code") == 1
    assert store.reset(model="none") == 0
    assert set(store.tallies(0.0)) == {("math", "a"), ("math", "b")}
    assert store.reset(task="math") == 2
    assert store.reset() == 0


def test_it_outlives_the_process(file: Path) -> None:
    with closing(Store(file)) as store:
        store.remember("one", A, now=0.0)
        store.remember("two", B, now=0.0)
        store.record("one", rating("up"), now=0.0)
    with closing(Store(file)) as store:
        assert store.tallies(0.0) == {("code", "a"): Tally(1.0, 1.0)}
        assert store.record("two", rating("up"), now=1.0) == B


def test_a_file_that_cannot_be_read_is_set_aside(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database at all, " * 100)
    with closing(Store(file)) as store:
        assert store.tallies(0.0) == {}
    assert file.with_suffix(".unreadable.db").read_bytes().startswith(b"no database")
    assert "a new one begins" in caplog.text


def _rate(file: Path, name: str, count: int) -> None:
    with closing(Store(file)) as store:
        for n in range(count):
            store.remember(f"{name}-{n}", A, now=0.0)
            store.record(f"{name}-{n}", rating("up"), now=0.0)


def test_two_processes_rate_at_the_same_time(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_rate, args=(file, name, 200)) for name in ("x", "y")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    with closing(Store(file)) as store:
        assert store.tallies(0.0) == {("code", "a"): Tally(400.0, 400.0)}


def test_one_process_can_rate_what_another_has_answered(file: Path) -> None:
    with closing(Store(file)) as one, closing(Store(file)) as other:
        one.remember("one", A, now=0.0)
        one.flush(now=0.0)
        assert other.record("one", rating("up"), now=1.0) == A
        assert one.tallies(1.0) == {("code", "a"): Tally(1.0, 1.0)}


_WRITER = """
import itertools, sys
from pathlib import Path
from router.feedback.signals import rating
from router.feedback.store import Routed, Store

store = Store(Path(sys.argv[1]))
for n in itertools.count():
    store.remember(f"{sys.argv[2]}-{n}", Routed("code", "a"), now=0.0)
    store.record(f"{sys.argv[2]}-{n}", rating("up"), now=0.0)
    print(n, flush=True)
"""


def test_a_kill_in_the_middle_of_writes_leaves_a_readable_store(file: Path) -> None:
    told = 0
    for trial in range(5):
        command = [sys.executable, "-c", _WRITER, str(file), str(trial)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "0\n"
            time.sleep(0.02 * (trial + 1))
            os.kill(writer.pid, signal.SIGKILL)
            lines = writer.stdout.read().splitlines()
            # A last line may be cut; what was told whole was written before.
            told += 1 + sum(line.isdecimal() for line in lines[:-1])
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with closing(Store(file)) as store:
            tally = store.tallies(0.0)["code", "a"]
            assert tally.reward == tally.weight == store.count()
            assert store.count() >= told
