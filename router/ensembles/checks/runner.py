"""The code of an answer, and then its tests: what `jail` starts as a Python of its own.

Whoever wants to can fool its own tests from in here; that keeps wrong answers out, not wily ones.
"""

from __future__ import annotations

import json
import os
import sys

_REASON_CHARS = 300


def main() -> None:
    question = json.load(sys.stdin)
    told = os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
    os.write(told, json.dumps({"error": failure(question["code"], question["tests"])}).encode())
    os._exit(0)  # whatever threads or exit hooks of the code say


def failure(code: str, tests: str) -> str | None:
    """What goes wrong, if anything does; leaving early is wrong, too."""
    scope: dict[str, object] = {"__name__": "answer"}
    try:
        for name, source in (("answer.py", code), ("tests.py", tests)):
            exec(compile(source, name, "exec"), scope)  # noqa: S102 - what all this is for
    except BaseException as error:  # noqa: BLE001 - SystemExit, too
        return f"{type(error).__name__}: {error}"[:_REASON_CHARS]
    return None


if __name__ == "__main__":
    main()
