"""Start-up progress: one live line a replica on a terminal, one line a change elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from common.units import format_duration


def say(text: str) -> None:
    """A line about what is going on; results go to stdout, this does not."""
    print(f"roundhouse: {text}", file=sys.stderr, flush=True)


class StartProgress:
    """Shows how the replicas come up, and afterwards how they change.

    As a context manager it is a live display, where there is a terminal.
    """

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._began = time.monotonic()
        self._live: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def show(self, replicas: list[dict[str, Any]]) -> None:
        lines = {replica["id"]: _line(replica) for replica in replicas}
        if self._live:
            elapsed = format_duration(time.monotonic() - self._began)
            self._live.update("\n".join(f"  {text}  [{elapsed}]" for text in lines.values()))
        for replica_id, text in lines.items():
            is_news = self._told.get(replica_id) != text
            if is_news and (not self._live or text.endswith("ready")):
                say(f"[{time.monotonic() - self._began:5.1f} s] {text}")
        self._told = lines


def _line(replica: dict[str, Any]) -> str:
    detail = replica["error"] or replica["phase"]
    return f"{replica['id']}: {detail or replica['state']}"
