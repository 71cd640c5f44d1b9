"""Who answered which request, and what was said of it: one SQLite file for all router processes.

Each feedback is a row of its own. So a later rating of a request replaces the former, old ones
fade exactly, and a process that dies in the middle leaves whole rows. Calls block: keep them off
the event loop, but for `remember`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, log
from pathlib import Path
from threading import Lock

from common.errors import BadRequestError
from common.units import format_duration
from router.feedback.posterior import Key, Tally
from router.feedback.signals import Signal

_DAY_S = 86_400.0
_BUSY_S = 10.0
# Of what is left of a weight; a row below it is dropped.
_FADED = 0.01
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, task TEXT NOT NULL, model TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_at ON requests (at);
CREATE TABLE IF NOT EXISTS feedback (
    request TEXT NOT NULL, kind TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL,
    reward REAL NOT NULL, weight REAL NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (request, kind)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS feedback_key ON feedback (task, model);
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Routed:
    """What a request was taken for, and who answered it."""

    task: str
    model: str


@dataclass(frozen=True, slots=True)
class Limits:
    remember_s: float = 7 * _DAY_S
    max_requests: int = 100_000
    max_feedback: int = 200_000
    decay_per_day: float = 0.995


class Store:
    """Opens the file, or makes it. One that cannot be read is set aside, and a new one begins."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = path
        self._limits = limits or Limits()
        self._pending: dict[str, tuple[Routed, float]] = {}
        self._pending_lock = Lock()  # never held while the disk is at work
        self._lock = Lock()
        self._db = _opened(path)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def remember(self, request_id: str, routed: Routed, now: float) -> None:
        """Kept in memory until `flush`; a process that dies before has lost it."""
        with self._pending_lock:
            self._pending[request_id] = (routed, now)
            if len(self._pending) > self._limits.max_requests:
                del self._pending[next(iter(self._pending))]

    def flush(self, now: float) -> None:
        """Writes what was remembered since, and drops what is too old or too much."""
        self._write_pending()
        with self._writing() as db:
            db.execute("DELETE FROM requests WHERE at < ?", (now - self._limits.remember_s,))
            _keep_newest(db, "requests", self._limits.max_requests)
            _keep_newest(db, "feedback", self._limits.max_feedback)
            db.execute("DELETE FROM feedback WHERE at < ?", (now - self._faded_s(),))

    def record(self, request_id: str, signal: Signal, now: float) -> Routed:
        """Raises BadRequestError for a request that is not remembered (any more)."""
        self._write_pending()
        with self._writing() as db:
            routed = self._routed(db, request_id, now)
            said = (signal.kind, routed.task, routed.model, signal.reward, signal.weight, now)
            db.execute(
                "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?)", (request_id, *said)
            )
        return routed

    def tallies(self, now: float) -> dict[Key, Tally]:
        """Faded by their age in whole days."""
        with self._lock:
            rows = self._db.execute(
                "SELECT task, model, CAST(max(0, ? - at) / ? AS INTEGER), sum(reward * weight),"
                " sum(weight) FROM feedback GROUP BY 1, 2, 3",
                (now, _DAY_S),
            ).fetchall()
        sums: dict[Key, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for task, model, days, reward, weight in rows:
            left = self._limits.decay_per_day**days
            rewards, weights = sums[task, model]
            sums[task, model] = rewards + left * reward, weights + left * weight
        return {key: Tally(*both) for key, both in sums.items()}

    def count(self) -> int:
        with self._lock:
            (count,) = self._db.execute("SELECT count(*) FROM feedback").fetchone()
        return int(count)

    def reset(self, *, model: str | None = None, task: str | None = None) -> int:
        """Forgets the feedback of a model, of a task, or all; how many it was."""
        with self._writing() as db:
            return db.execute(
                "DELETE FROM feedback"
                " WHERE model = coalesce(?, model) AND task = coalesce(?, task)",
                (model, task),
            ).rowcount

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, and no other process in between."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def _write_pending(self) -> None:
        """What cannot be written stays pending."""
        with self._pending_lock:
            batch = self._pending.copy()
        rows = [(each, routed.task, routed.model, at) for each, (routed, at) in batch.items()]
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?)", rows)
        with self._pending_lock:
            for request_id, item in batch.items():
                if self._pending.get(request_id) is item:  # not remembered anew meanwhile
                    del self._pending[request_id]

    def _routed(self, db: sqlite3.Connection, request_id: str, now: float) -> Routed:
        row = db.execute(
            "SELECT task, model FROM requests WHERE id = ? AND at >= ?",
            (request_id, now - self._limits.remember_s),
        ).fetchone()
        if row is None:
            raise BadRequestError(
                f"request {request_id!r} cannot be rated: it is not known, or older than "
                f"{format_duration(self._limits.remember_s)}",
                param="request_id",
            )
        return Routed(*row)

    def _faded_s(self) -> float:
        decay = self._limits.decay_per_day
        return inf if decay == 1 else _DAY_S * log(_FADED) / log(decay)


def _keep_newest(db: sqlite3.Connection, table: str, most: int) -> None:
    # A table's name cannot be a parameter; both are constants of this file.
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    if count > most:
        key = "id" if table == "requests" else "request, kind"
        db.execute(
            f"DELETE FROM {table} WHERE ({key}) IN"  # noqa: S608
            f" (SELECT {key} FROM {table} ORDER BY at LIMIT ?)",
            (count - most,),
        )


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = path.with_suffix(".unreadable.db")
        path.replace(aside)
        _log.warning("%s: %s; it is now %s, and a new one begins", path, error, aside)
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
    try:
        # In WAL mode NORMAL survives the death of a process; a power cut may cost the last rows.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db
