"""A process's output as a file that `roundhouse logs` shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def redirect_output(path: Path) -> None:
    """Output of this process, and of every process that it starts, is appended to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def start_afresh(directory: Path) -> None:
    """The logs of the last run become `*.log.1`; this run begins with empty ones."""
    for log in directory.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))
