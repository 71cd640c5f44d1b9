"""A replica's circuit breaker: a few failures in a row, and it is left alone for a while.

Closed: all requests. Open: none, for `open_s`. Half-open: one at a time; enough successes close
it, one failure opens it again. Time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from math import inf

from common.routing_config import BreakerConfig


class BreakerState(IntEnum):
    """The numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Verdict(Enum):
    """What an attempt says about its replica."""

    SUCCESS = "success"
    FAILURE = "failure"  # no connection, a broken one, silence, 5xx, a dead engine
    NEITHER = "neither"  # the client hung up, or the replica was only busy


@dataclass(slots=True)
class Breaker:
    """`closed` may be read without asking for the time; the hot path does."""

    config: BreakerConfig = field(default_factory=BreakerConfig)
    closed: bool = True
    opened_at: float = -inf
    _changed_at: float = -inf
    _open_until: float = -inf
    _failures: int = 0
    _successes: int = 0
    _probing: bool = False

    def state(self, now: float) -> BreakerState:
        if self.closed:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def admits(self, now: float) -> bool:
        """May a request go there now?"""
        return self.closed or (now >= self._open_until and not self._probing)

    def depart(self, now: float) -> None:
        """A request goes there; when it was not admitted, as an early probe."""
        if not self.closed:
            self._probing = True
            self._open_until = min(self._open_until, now)

    def arrive(self, verdict: Verdict, now: float, departed_at: float) -> None:
        """An attempt has ended. One that left before the last change tells of another time."""
        if departed_at < self._changed_at:
            return
        self._probing = False
        if verdict is Verdict.FAILURE:
            self._failed(now)
        elif verdict is Verdict.SUCCESS:
            self._succeeded(now)

    def reset(self) -> None:
        """Another process stands there now."""
        self.closed, self._probing = True, False
        self._failures = self._successes = 0

    def _failed(self, now: float) -> None:
        self._failures += 1
        if self.closed and self._failures < self.config.failures:
            return
        self.closed = False
        self.opened_at = self._changed_at = now
        self._open_until = now + self.config.open_s
        self._failures = self._successes = 0

    def _succeeded(self, now: float) -> None:
        self._failures = 0
        if self.closed:
            return
        self._successes += 1
        if self._successes >= self.config.successes:
            self.closed, self._changed_at, self._successes = True, now, 0
