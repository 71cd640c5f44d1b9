"""One line a change where there is no terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.progress import StartProgress, say


def replica(name: str, state: str, phase: str = "", error: str | None = None) -> dict[str, Any]:
    return {"id": name, "state": state, "phase": phase, "error": error}


def test_what_goes_on_is_told_beside_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("starting")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "roundhouse: starting\n")


def test_each_change_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with StartProgress() as progress:
        for _ in range(3):
            progress.show([replica("m-0", "starting"), replica("m-1", "starting")])
        for _ in range(3):
            progress.show(
                [replica("m-0", "loading", "loading weights"), replica("m-1", "starting")]
            )
        progress.show([replica("m-0", "ready"), replica("m-1", "failed", "", "no memory")])
    told = capsys.readouterr()
    lines = [re.sub(r"\[ *\d+\.\d s\] ", "", line) for line in told.err.splitlines()]
    assert lines == [
        "roundhouse: m-0: starting",
        "roundhouse: m-1: starting",
        "roundhouse: m-0: loading weights",
        "roundhouse: m-0: ready",
        "roundhouse: m-1: no memory",
    ]
    assert told.out == ""
