"""Runs a fake of a cloud API as a process of its own, and sees to it that it dies."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).parents[2]


class FakeCloud:
    """`with FakeCloud("anthropic") as cloud:`; `cloud.url` is its address, without /v1."""

    def __init__(self, api: str, tls: Path | None = None) -> None:
        self.command = [sys.executable, "-m", f"tests.fakes.{api}_api"]
        self.command += ["--tls", str(tls)] if tls else []
        handlers: list[Any] = [urllib.request.ProxyHandler({})]
        if tls:
            trust = ssl.create_default_context(cafile=str(tls))
            handlers.append(urllib.request.HTTPSHandler(context=trust))
        self._opener = urllib.request.build_opener(*handlers)

    def fault(self, **fault: Any) -> None:
        """`fault(status=429, retry_after=20, times=2)`, `fault(kind="drop")`; once by default."""
        self._call("/fake/fault", fault)

    def reset(self) -> None:
        self._call("/fake/reset", {})

    def seen(self) -> list[dict[str, Any]]:
        """Path, headers and body of every request."""
        seen: list[dict[str, Any]] = self._call("/fake/seen")["seen"]
        return seen

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with self._opener.open(self.url + path, data, timeout=10) as answer:
            value: dict[str, Any] = json.load(answer)
            return value

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the fake did not start: {line!r}")
        self.url = line.split()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
