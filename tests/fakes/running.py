"""Runs the fake engine as a process of its own, and sees to it that it dies."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy
PROGRAM = Path(__file__).with_name("engine.py")


class FakeEngine:
    """`with FakeEngine(model="m") as engine:` or `async with`; `engine.url` is its address.

    The methods block for about a millisecond: they are for tests, not for a hot path.
    """

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
        self.command = [sys.executable, str(PROGRAM), "--exit-with-stdin"]
        for key, value in [*options.items(), *(("--model", each) for each in models)]:
            self.command += [key, str(value)]
        self.url = ""

    def start(self) -> Self:
        # The pipe on stdin ends the program when this process dies, however it dies.
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the fake engine did not start: {line!r}")
        self.url = line.split()[1]
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash would be; harmless when it is dead already."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def behave(self, **behaviour: Any) -> None:
        """Sets a fault, e.g. `behave(mode="status", status=429, times=1)`."""
        self._call("/fake/behaviour", behaviour)

    def pace(self, **pace: Any) -> None:
        """Changes `token_rate`, `first_token_delay_s` or `burst` of the running engine."""
        self._call("/fake/pace", pace)

    def reset(self) -> None:
        """Takes faults and pace back and counts from zero."""
        self._call("/fake/reset", {})

    def stats(self) -> dict[str, Any]:
        return self._call("/fake/stats")

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with OPENER.open(self.url + path, data, timeout=10) as answer:
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

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.kill)
