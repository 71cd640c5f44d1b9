"""A quantile of the most recent values, such as the p95 of a model's times to first byte."""

from __future__ import annotations

from collections import deque

_KEPT = 256
_NEEDED = 40  # fewer values say little about a p95
_STALE_AFTER = 16  # new values before it is worked out anew


class RecentQuantile:
    def __init__(self, quantile: float) -> None:
        self._quantile = quantile
        self._values: deque[float] = deque(maxlen=_KEPT)
        self._fresh = 0
        self._known: float | None = None

    def add(self, value: float) -> None:
        self._values.append(value)
        self._fresh += 1

    def value(self) -> float | None:
        """None until enough values have come."""
        if len(self._values) < _NEEDED:
            return None
        if self._known is None or self._fresh >= _STALE_AFTER:
            ordered = sorted(self._values)
            self._known = ordered[int(self._quantile * (len(ordered) - 1))]
            self._fresh = 0
        return self._known
