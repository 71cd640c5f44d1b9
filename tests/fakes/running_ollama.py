"""Runs the fake Ollama."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Self

from tests.fakes.process import FakeProcess

PROGRAM = Path(__file__).with_name("ollama.py")


class FakeOllama(FakeProcess):
    """`with FakeOllama("llama3.2", "nomic-embed-text") as server:`; started anew, it has the same
    address."""

    def __init__(self, *models: str, port: int = 0) -> None:
        self.models = models
        self.port = port

    def command(self) -> list[str]:
        command = [sys.executable, str(PROGRAM), "--exit-with-stdin", "--port", str(self.port)]
        for model in self.models:
            command += ["--model", model]
        return command

    def start(self) -> Self:
        super().start()
        self.port = int(self.url.rpartition(":")[2])
        return self

    def set(self, **values: Any) -> None:
        """Any of the fake's controls, e.g. `set(pullable=["qwen3:8b"])`."""
        self.call("/fake/set", values)

    def stats(self) -> dict[str, Any]:
        return self.call("/fake/stats")

    def loaded(self) -> dict[str, float]:
        """For how many seconds each loaded model stays, by its name."""
        found: dict[str, float] = self.stats()["loaded"]
        return found
