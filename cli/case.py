"""`roundhouse plan --case FILE`: JSON lines in, JSON lines out; for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from common.errors import UsageError
from placement.footprint.cases import answers


def run(source: str) -> int:
    """Answers each line of a file, or of standard input for "-". Exit code 1 if any was bad."""
    with ExitStack() as stack:
        lines: Iterable[str] = sys.stdin if source == "-" else stack.enter_context(_open(source))
        return write(lines, sys.stdout)


def write(lines: Iterable[str], out: TextIO) -> int:
    """One answer at a time, so that a pipe sees each as soon as it is there."""
    bad = 0
    for found in answers(lines):
        bad += "error" in found
        print(json.dumps(found), file=out, flush=True)
    return int(bad > 0)


def _open(source: str) -> TextIO:
    try:
        return Path(source).open(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--case {source}: cannot be read: {error.strerror}") from None
