"""How a pull goes: a bar with bytes and rate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from cli.progress import say
from common.units import format_bytes

_LINE_PERIOD_S = 5.0


class PullProgress:
    """Told by several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._total = self._done = self._began_at = 0
        self._began_s = self._told_s = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def begin(self, files: int, total_bytes: int, have_bytes: int) -> None:
        self._total, self._done, self._began_at = total_bytes, have_bytes, have_bytes
        self._began_s = self._told_s = time.monotonic()
        if not files:
            return
        kept = f", {format_bytes(have_bytes)} are here" if have_bytes else ""
        say(f"pulling {self._name}: {files} file(s), {format_bytes(total_bytes)}{kept}")
        if sys.stderr.isatty():
            self._start_bar()

    def advance(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            if self._bar:
                self._bar.update(self._task, completed=self._done)
            elif (now := time.monotonic()) - self._told_s >= _LINE_PERIOD_S:
                self._told_s = now
                say(self.line(now))

    def line(self, now_s: float) -> str:
        """Bytes, share and rate since this pull began."""
        rate = (self._done - self._began_at) / max(now_s - self._began_s, 0.001)
        share = 100 * self._done // max(self._total, 1)
        return (
            f"{self._name}: {format_bytes(self._done)} of {format_bytes(self._total)} "
            f"({share} %), {format_bytes(rate)}/s"
        )

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(self._name, total=self._total, completed=self._done)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
