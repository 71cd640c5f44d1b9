"""Runs the fake engine."""

import asyncio
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.process import FakeProcess

PROGRAM = Path(__file__).with_name("engine.py")


class FakeEngine(FakeProcess):
    """`with FakeEngine(model="m") as engine:` or `async with`; `engine.url` is its address."""

    def __init__(
        self,
        *,
        model: str | list[str] = "fake",
        name: str = "fake",
        port: int = 0,
        token_rate: float = 0.0,
        first_token_delay_s: float = 0.0,
        burst: int = 8,
    ) -> None:
        models = [model] if isinstance(model, str) else model
        options = {
            "--port": port,
            "--name": name,
            "--token-rate": token_rate,
            "--first-token-delay": first_token_delay_s,
            "--burst": burst,
        }
        self._command = [sys.executable, str(PROGRAM), "--exit-with-stdin"]
        for key, value in [*options.items(), *(("--model", each) for each in models)]:
            self._command += [key, str(value)]

    def command(self) -> list[str]:
        return self._command

    def behave(self, **behaviour: Any) -> None:
        """Sets a fault, e.g. `behave(mode="status", status=429, times=1)`."""
        self.call("/fake/behaviour", behaviour)

    def pace(self, **pace: Any) -> None:
        """Changes `token_rate`, `first_token_delay_s` or `burst` of the running engine."""
        self.call("/fake/pace", pace)

    def reset(self) -> None:
        """Takes faults and pace back and counts from zero."""
        self.call("/fake/reset", {})

    def stats(self) -> dict[str, Any]:
        return self.call("/fake/stats")

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.kill)
