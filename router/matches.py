"""How much of each prompt its replica was believed to have: a histogram that costs one step."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

BOUNDS: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class Matches:
    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS)
        self.sum = 0.0

    def add(self, matched: int, blocks: int) -> None:
        """Of a prompt of so many blocks, at least one, so many were believed to be there."""
        share = matched / blocks
        self._counts[bisect_left(BOUNDS, share)] += 1
        self.sum += share

    def cumulative(self) -> list[tuple[float, int]]:
        """For each bound, how many prompts matched by at most that share."""
        return list(zip(BOUNDS, accumulate(self._counts), strict=True))
