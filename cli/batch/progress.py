"""How a batch goes: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from cli.progress import say
from common.units import format_duration

_LINE_PERIOD_S = 5.0


class BatchProgress:
    """`before`: how many of `total` earlier runs did."""

    def __init__(self, total: int, before: int) -> None:
        self.total, self.before = total, before
        self.done = self.failed = 0
        self._began_s = self._told_s = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def add(self, *, is_answer: bool) -> None:
        self.done += 1
        self.failed += not is_answer
        self.show()

    def show(self) -> None:
        words = pace(self.before, self.done, self.total, self.failed, self.elapsed_s)
        if self._bar:
            self._bar.update(self._task, completed=self.before + self.done, pace=words)
        elif (now_s := time.monotonic()) - self._told_s >= _LINE_PERIOD_S:
            self._told_s = now_s
            at = self.before + self.done
            say(f"{at} of {self.total} ({100 * at // self.total} %), {words}")

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("batch"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=self.total, completed=self.before, pace="")
        self._bar.start()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._start_bar()
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


def pace(before: int, done: int, total: int, failed: int, elapsed_s: float) -> str:
    """Rate and time left by this run alone, since earlier ones may have had another server."""
    rate = done / max(elapsed_s, 1e-3)
    left = f", {format_duration((total - before - done) / rate)} left" if done else ""
    lost = f", {failed} failed" if failed else ""
    return f"{rate:.1f}/s{left}{lost}"
