"""Ray Serve's own command line runs the whole house: `serve run serve_app:build config=FILE`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.real.serving import RunningServer, small, wait_for

pytestmark = pytest.mark.engine


class UnderServe(RunningServer):
    @property
    def command(self) -> list[str]:
        serve = str(Path(sys.executable).with_name("serve"))
        return [serve, "run", "serve_app:build", f"config={self.file}"]


def test_serve_run(tiny: Path, tmp_path: Path) -> None:
    with UnderServe({"models": {"tiny": small(tiny)}}, tmp_path) as server:
        server.wait_ready()
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        answer = server.post("/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-roundhouse-replica"] == "tiny-0"
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
        wait_for(lambda: not server.processes(), 30, "end of every process")
