"""One engine's life in a process of its own, over a fake of its package: a program for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TOKEN = "a-token-of-the-replica"
_ROOT = Path(__file__).resolve().parents[2]
# Tells by a line each what the engine's owner sees; `open_` asks its server past all proxies.
_BEGIN = """
import json, os, sys, time, urllib.error, urllib.request
from pathlib import Path
from common.logs import redirect_output
from engines.base import ReplicaSpec

out = os.fdopen(os.dup(1), "w")
def tell(*words): print(*words, sep=" | ", file=out, flush=True)
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
spec = ReplicaSpec(**json.loads(sys.argv[1]))
redirect_output(Path(spec.log_path))
engine = Engine(spec)
engine.start()
status = engine.status()
while status.state not in ("ready", "failed"):
    time.sleep(0.002)
    status = engine.status()
tell(status.state, status.error or "", status.error_code or "", status.max_model_len or "",
     status.kv_tokens or "", engine._process.pid if engine._process else "")
"""
_END = """
engine.stop()
tell("stopped")
"""


def program(engine: str, meanwhile: str) -> str:
    """`engine` is a class by its dotted path; `meanwhile` is run once it is ready, or failed."""
    module, _, name = engine.rpartition(".")
    return f"from {module} import {name} as Engine\n{_BEGIN}{meanwhile}{_END}"


def lived(
    program: str, spec: dict[str, Any], *words: str, fake: str, variables: dict[str, str]
) -> tuple[int, list[str], str]:
    """Exit code, what the engine's owner saw, and its log. `fake`: a folder of tests/fakes."""
    path = f"{_ROOT / 'tests' / 'fakes' / fake}:{_ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(spec), *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "PATH": "", **variables},
        timeout=60,
    )
    log = Path(spec["log_path"]).read_text() + done.stderr
    return done.returncode, done.stdout.splitlines(), log
