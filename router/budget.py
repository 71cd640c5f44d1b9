"""A share of traffic that may be spent on further attempts, so that they cannot become a storm."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp


@dataclass(slots=True)
class Budget:
    """Counts requests and what was spent on them, both fading with `window_s`.

    `count` stands on the hot path and is an addition; `age` is called now and then.
    """

    share: float
    floor: float
    window_s: float
    requests: float = 0.0
    spent: float = 0.0

    def count(self) -> None:
        self.requests += 1.0

    def take(self) -> bool:
        """One further attempt, if there is one left."""
        if self.spent + 1.0 > self.floor + self.share * self.requests:
            return False
        self.spent += 1.0
        return True

    def age(self, elapsed_s: float) -> None:
        kept = exp(-elapsed_s / self.window_s)
        self.requests *= kept
        self.spent *= kept
