"""Output as files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from common.logs import start_afresh

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from common.logs import redirect_output
print("before")
redirect_output(Path(sys.argv[1]))
print("from print", flush=True)
print("from stderr", file=sys.stderr, flush=True)
os.write(1, b"from C\\n")
subprocess.run(["echo", "from a child"], check=True)
"""


def run(log: Path) -> str:
    command = [sys.executable, "-c", PROGRAM, str(log)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_everything_that_is_printed_goes_to_the_file(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "8000" / "m-0.log"
    assert run(log) == "before\n"
    told = "from print\nfrom stderr\nfrom C\nfrom a child\n"
    assert log.read_text() == told
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    run(log)
    assert log.read_text() == told * 2


def test_a_fresh_start_keeps_the_last_runs_logs(tmp_path: Path) -> None:
    for name in ("m-0.log", "router.log"):
        (tmp_path / name).write_text(f"first {name}")
    (tmp_path / "notes.txt").write_text("not a log")
    start_afresh(tmp_path)
    (tmp_path / "m-0.log").write_text("second m-0.log")
    start_afresh(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "m-0.log.1": "second m-0.log",
        "router.log.1": "first router.log",
        "notes.txt": "not a log",
    }


def test_a_first_start_has_nothing_to_keep(tmp_path: Path) -> None:
    start_afresh(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
