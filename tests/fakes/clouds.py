"""Runs a fake of a cloud API."""

from __future__ import annotations

import ssl
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.fakes.process import FakeProcess


class FakeCloud(FakeProcess):
    """`with FakeCloud("anthropic") as cloud:`; `cloud.url` is its address, without /v1."""

    def __init__(self, api: str, tls: Path | None = None) -> None:
        self._command = [sys.executable, "-m", f"tests.fakes.{api}_api"]
        if tls:
            self._command += ["--tls", str(tls)]
            trust = ssl.create_default_context(cafile=str(tls))
            self.opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
            )

    def command(self) -> list[str]:
        return self._command

    def fault(self, **fault: Any) -> None:
        """`fault(status=429, retry_after=20, times=2)`, `fault(kind="drop")`; once by default."""
        self.call("/fake/fault", fault)

    def reset(self) -> None:
        self.call("/fake/reset", {})

    def seen(self) -> list[dict[str, Any]]:
        """Path, headers and body of every request."""
        seen: list[dict[str, Any]] = self.call("/fake/seen")["seen"]
        return seen
