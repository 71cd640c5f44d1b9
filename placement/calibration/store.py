"""The measurements of this user's starts, in one file that outlives them all.

Nothing here may fail a start: what cannot be read is set aside, what cannot be written is told in
the log and lost.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.instance import state_dir
from placement.calibration.calibration import Calibration
from placement.calibration.measurement import Measurement, measure
from placement.calibration.startup_report import StartupReport
from placement.footprint.estimate import estimate
from placement.footprint.settings import Footprint
from placement.footprint.versions import parse_version

VERSION = 1
KEPT_PER_CONDITIONS = 5
KEPT_IN_ALL = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    measurements: tuple[Measurement, ...]


_FILE = TypeAdapter(_File)


def path() -> Path:
    return state_dir() / "calibration.json"


def load() -> Calibration:
    """All that was measured so far; an empty calibration where that cannot be read."""
    try:
        return Calibration(_seen())
    except OSError as error:
        _log.warning("%s cannot be read, so predictions are not calibrated: %s", path(), error)
        return Calibration()


def add(measurement: Measurement) -> None:
    """Keeps a measurement, beside what others add at the same time."""
    try:
        with _locked():
            _write(newest([*_read(), measurement]))
    except OSError as error:
        _log.warning("%s cannot be written, so this start teaches nothing: %s", path(), error)


def learn(planned: Footprint, report: StartupReport) -> Measurement:
    """Keeps what a start told, beside what would have been predicted for it without calibration."""
    version = parse_version(report.vllm_version) or planned.settings.vllm_version
    settings = replace(planned.settings, vllm_version=version)
    cold = estimate(planned.facts, settings, planned.device)
    measurement = measure(cold, report, datetime.now(UTC).isoformat(timespec="milliseconds"))
    if measurement.reported:
        add(measurement)
    return measurement


def newest(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The latest ones, a few under each conditions, oldest first."""
    count: Counter[object] = Counter()
    kept = []
    for each in sorted(measurements, key=lambda m: m.taken_at, reverse=True):
        count[each.conditions] += 1
        if count[each.conditions] <= KEPT_PER_CONDITIONS:
            kept.append(each)
    return kept[:KEPT_IN_ALL][::-1]


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time; the lock has a file of its own, since the other one is replaced."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _seen() -> tuple[Measurement, ...]:
    """Without the lock, for the file is replaced as a whole; only to set it aside needs that."""
    try:
        return _parsed(path().read_bytes())
    except FileNotFoundError:
        return ()
    except (ValueError, RecursionError):
        with _locked():
            return _read()


def _read() -> tuple[Measurement, ...]:
    """An unreadable file is moved out of the way, so that it is told of once and can be mended."""
    try:
        return _parsed(path().read_bytes())
    except FileNotFoundError:
        return ()
    except (ValueError, RecursionError) as error:
        aside = path().with_suffix(".unreadable.json")
        path().replace(aside)
        _log.warning("%s: %s; it is now %s, and a new one begins", path(), _words(error), aside)
        return ()


def _parsed(text: bytes) -> tuple[Measurement, ...]:
    data = json.loads(text)
    found = data.get("version") if isinstance(data, dict) else None
    if found != VERSION:
        raise ValueError(f"has version {found}, and this Roundhouse reads {VERSION}")
    return _FILE.validate_python(data).measurements


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _write(measurements: Sequence[Measurement]) -> None:
    data = {"version": VERSION, "measurements": [asdict(each) for each in measurements]}
    partial = path().with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(data, indent=1) + "\n")
    partial.replace(path())
