"""Targets that a benchmark missed: told at its end, and an exit code only where that is wanted.

`make bench` runs them all, whichever misses something.
"""

import argparse
import sys
from collections.abc import Iterable


def add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")


def exit_code(missed: Iterable[str], *, strict: bool) -> int:
    """Names what was missed on stderr."""
    names = list(missed)
    for name in names:
        print(f"target missed: {name}", file=sys.stderr)
    return int(strict and bool(names))
