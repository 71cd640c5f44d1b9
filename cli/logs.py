"""`roundhouse logs`: the end of a replica's log, and what is added to it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from common.errors import StartError, UsageError
from common.instance import log_dir, running, slug, state_dir

_PERIOD_S = 0.2


def show_logs(model: str, follow: bool, lines: int, port: int | None) -> None:
    files = log_files(model, port)
    for file in files:
        if len(files) > 1:
            print(f"==> {file.name} <==")
        with file.open(errors="replace") as text:
            sys.stdout.writelines(deque(text, maxlen=lines))
    if follow:
        _follow([file.open(errors="replace") for file in files])


def log_files(model: str, port: int | None) -> list[Path]:
    """Logs of a model's replicas, of one replica, or of the router.

    Raises StartError when nothing has been logged yet, UsageError for an unknown name.
    """
    directory = _directory(port)
    there = sorted(directory.glob("*.log")) if directory else []
    if not there:
        raise StartError("there are no logs; start a model with `roundhouse serve`")
    name = slug(model)
    found = [f for f in there if f.stem == name or f.stem.rpartition("-")[0] == name]
    if not found:
        known = ", ".join(file.stem for file in there)
        raise UsageError(f"no log of {model!r}; there are: {known}")
    return found


def _directory(port: int | None) -> Path | None:
    """Of the port given, of the only running one, or of the last that ran."""
    if port:
        return log_dir(port)
    instances = running()
    if len(instances) > 1:
        ports = ", ".join(str(i.port) for i in instances)
        raise UsageError(f"several run, on ports {ports}: choose one with --port")
    if instances:
        return log_dir(instances[0].port)
    past = list((state_dir() / "logs").glob("*/*.log"))
    return max(past, key=lambda file: file.stat().st_mtime).parent if past else None


def _follow(files: list[TextIO]) -> None:
    for file in files:
        file.seek(0, 2)
    for line in _growing(files):
        print(line, end="", flush=True)


def _growing(files: list[TextIO]) -> Iterator[str]:
    while True:
        fresh = [line for file in files for line in file.readlines()]
        yield from fresh
        if not fresh:
            time.sleep(_PERIOD_S)
