"""A fake that runs as a process of its own: started, controlled by HTTP, and sure to die."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy
_ROOT = Path(__file__).parents[2]


class FakeProcess:
    """Its program prints `ready URL`, and ends with its stdin: when this process dies, however."""

    opener = OPENER
    url = ""

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Self:
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"{type(self).__name__} did not start: {line!r}")
        self.url = line.split()[1]
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash would be; harmless when it is dead already."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST with a body, else GET. Blocks for about a millisecond: for tests, no hot path."""
        data = None if body is None else json.dumps(body).encode()
        with self.opener.open(self.url + path, data, timeout=10) as answer:
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
