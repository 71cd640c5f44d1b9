"""Runs the fake engine that has words of its own."""

from __future__ import annotations

import sys
from typing import Any

from tests.fakes.running import FakeEngine


class FakeSpeaker(FakeEngine):
    """A FakeEngine: faults, pace and counters are the same."""

    def __init__(self, *, model: str | list[str] = "fake", name: str = "fake") -> None:
        super().__init__(model=model, name=name)
        options = self._command[2:]
        self._command = [sys.executable, "-m", "tests.fakes.speaker", *options]

    def say(self, *rules: dict[str, Any] | str, **words: Any) -> None:
        """Texts that are said in turn, or rules; see the program."""
        texts = [rule for rule in rules if isinstance(rule, str)]
        told = [rule for rule in rules if isinstance(rule, dict)]
        told += [{"say": texts}] if texts else []
        self.call("/fake/words", {"rules": told, **words})

    def bodies(self) -> list[dict[str, Any]]:
        """Everything it was asked since its words were set."""
        asked: list[dict[str, Any]] = self.call("/fake/bodies")["bodies"]
        return asked
