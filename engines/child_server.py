"""The child's side of child.py: one line asks, one line answers, and the owner's end is the end.

Standard input brings one line of JSON, and ends when the owner does: then this process ends too.
Standard output takes one line of JSON, the address or the error; whatever a library prints goes to
standard error, which is the replica's log.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO


def run(start: Callable[[dict[str, Any]], tuple[str, object]]) -> None:
    """`start` gets what was asked; it returns the URL, and what must live as long as this does."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_owner, daemon=True).start()
    if asked["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, asked["cores"])  # threads that are started later have it from here
    try:
        url, _server = start(asked)
    except Exception as error:  # noqa: BLE001  # whatever it is, the start has failed by it
        _tell(answers, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    _tell(answers, {"url": url})
    threading.Event().wait()


def _tell(answers: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


def _end_with_owner() -> None:
    sys.stdin.read()
    os._exit(0)
