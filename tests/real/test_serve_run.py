"""Ray Serve's own command line runs the whole house: `serve run serve_app:build config=FILE`.

It goes on when a model does not load, where `roundhouse serve` would end; so weights that vLLM
cannot load are tried here, beside a model that it can.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.real.serving import Row, RunningServer, small, wait_for

pytestmark = pytest.mark.engine

_START_TIMEOUT_S = 300


class UnderServe(RunningServer):
    @property
    def command(self) -> list[str]:
        serve = str(Path(sys.executable).with_name("serve"))
        return [serve, "run", "serve_app:build", f"config={self.file}"]


def test_serve_run(tiny: Path, tmp_path: Path) -> None:
    folders = {"tiny": tiny, "missing": tmp_path / "missing", "cut-off": tmp_path / "cut-off"}
    for name in ("missing", "cut-off"):
        shutil.copytree(tiny, folders[name], ignore=shutil.ignore_patterns("*.safetensors"))
    weights = (tiny / "model.safetensors").read_bytes()[: 1 << 20]
    (folders["cut-off"] / "model.safetensors").write_bytes(weights)
    models = {name: small(folder) for name, folder in folders.items()}
    with UnderServe({"models": models}, tmp_path) as server:
        first = first_outcomes(server, len(models))
        assert first["tiny-0"]["state"] == "ready"
        assert first["missing-0"]["error_code"] == "engine_load_failed"
        assert "Cannot find any model weights" in first["missing-0"]["error"]
        assert first["cut-off-0"]["error_code"] == "engine_load_failed"
        assert "SafetensorError: " in first["cut-off-0"]["error"]
        assert "incomplete" in first["cut-off-0"]["error"]

        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
        answer = server.post("/v1/chat/completions", body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-roundhouse-replica"] == "tiny-0"
        told = server.post("/v1/chat/completions", body | {"model": "missing"})
        assert told.status_code == 503
        assert told.headers["retry-after"]
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
        wait_for(lambda: not server.processes(), 30, "end of every process")


def first_outcomes(server: RunningServer, replicas: int) -> dict[str, Row]:
    """Each replica as it was when it was first ready or had failed: it is tried again later."""
    seen: dict[str, Row] = {}

    def look() -> bool:
        for name, row in server.rows().items():
            if row["state"] in {"ready", "failed"}:
                seen.setdefault(name, row)
        return len(seen) == replicas

    wait_for(look, _START_TIMEOUT_S, "end of every start", server.tail)
    return seen
