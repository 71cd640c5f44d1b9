"""From an engine's prefix counters, which only grow, to the share that it found lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Tokens that an engine must have looked up. Over fewer, the requests that were sent to it and are
# not counted yet, or the other way round, would blur the share.
LEAST_QUERIES: Final = 8192


@dataclass(slots=True)
class HitWindow:
    """One replica's counters as they stood when a share was told last; None before any report."""

    since: tuple[int, int] | None = None

    def share(self, queries: int | None, hits: int | None) -> float | None:
        """What share of the tokens looked up since was found; None while those are too few.

        The first report of a process only sets the mark: what it counted before is older than what
        the router knows of it.
        """
        if queries is None or hits is None:
            return None
        if self.since is None or queries < self.since[0] or hits < self.since[1]:
            self.since = queries, hits  # counters that shrink are another process's
            return None
        asked = queries - self.since[0]
        if asked < LEAST_QUERIES:
            return None
        found = hits - self.since[1]
        self.since = queries, hits
        return found / asked

    def reset(self) -> None:
        self.since = None
