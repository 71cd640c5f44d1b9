"""How a pull goes: a bar with bytes and rate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from cli.progress import say
from engines.hub.lines import Lines


class PullProgress(Lines):
    """Told by several threads."""

    def __init__(self, name: str) -> None:
        super().__init__(name, say)
        self._bar: Any = None
        self._task: Any = None

    def begin(self, files: int, total_bytes: int, have_bytes: int) -> None:
        super().begin(files, total_bytes, have_bytes)
        if files and sys.stderr.isatty():
            self._start_bar()

    def show(self) -> None:
        if self._bar:
            self._bar.update(self._task, completed=self.done)
        else:
            super().show()

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
        self._task = self._bar.add_task(self.name, total=self.total, completed=self.done)
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
