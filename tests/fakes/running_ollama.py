"""Runs the fake Ollama as a process of its own, and sees to it that it dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.running import OPENER

PROGRAM = Path(__file__).with_name("ollama.py")


class FakeOllama:
    """`with FakeOllama("llama3.2", "nomic-embed-text") as server:`; `server.url` is its address."""

    def __init__(self, *models: str, port: int = 0) -> None:
        self.models = models
        self.port = port
        self.url = ""

    def start(self) -> Self:
        command = [sys.executable, str(PROGRAM), "--exit-with-stdin", "--port", str(self.port)]
        for model in self.models:
            command += ["--model", model]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the fake Ollama did not start: {line!r}")
        self.url = line.split()[1]
        self.port = int(self.url.rpartition(":")[2])
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def set(self, **values: Any) -> None:
        """Any of the fake's controls, e.g. `set(pullable=["qwen3:8b"])`."""
        self.post("/fake/set", values)

    def stats(self) -> dict[str, Any]:
        return self.get("/fake/stats")

    def loaded(self) -> dict[str, float]:
        """For how many seconds each loaded model stays, by its name."""
        found: dict[str, float] = self.stats()["loaded"]
        return found

    def get(self, path: str) -> dict[str, Any]:
        with OPENER.open(self.url + path, timeout=10) as answer:
            value: dict[str, Any] = json.load(answer)
            return value

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with OPENER.open(self.url + path, json.dumps(body).encode(), timeout=10) as answer:
            value: dict[str, Any] = json.load(answer)
            return value

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
