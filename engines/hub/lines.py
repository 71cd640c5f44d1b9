"""How a pull goes, in lines: what is to come, then bytes, share and rate now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from common.units import format_bytes

_LINE_PERIOD_S = 5.0


class Lines:
    """Told by several threads."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self.name = name
        self.total = self.done = 0
        self._tell = tell
        self._lock = threading.Lock()
        self._began_at = 0
        self._began_s = self._told_s = time.monotonic()

    def begin(self, files: int, total_bytes: int, have_bytes: int) -> None:
        self.total, self.done, self._began_at = total_bytes, have_bytes, have_bytes
        self._began_s = self._told_s = time.monotonic()
        if files:
            kept = f", {format_bytes(have_bytes)} are here" if have_bytes else ""
            self._tell(f"pulling {self.name}: {files} file(s), {format_bytes(total_bytes)}{kept}")

    def advance(self, n_bytes: int) -> None:
        with self._lock:
            self.done += n_bytes
            self.show()

    def show(self) -> None:
        if (now := time.monotonic()) - self._told_s >= _LINE_PERIOD_S:
            self._told_s = now
            self._tell(self.line(now))

    def line(self, now_s: float) -> str:
        """Bytes, share and rate since this pull began."""
        rate = (self.done - self._began_at) / max(now_s - self._began_s, 0.001)
        share = 100 * self.done // max(self.total, 1)
        return (
            f"{self.name}: {format_bytes(self.done)} of {format_bytes(self.total)} "
            f"({share} %), {format_bytes(rate)}/s"
        )
