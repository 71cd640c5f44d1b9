"""One model's life as the manager knows it: its state, what it holds, since when it is idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from common.keep_alive import KeepAlive
from engines.manager.amounts import NOTHING, Bytes, most
from engines.manager.cooldown import Cooldown
from engines.manager.eviction import Standing, Victim
from engines.manager.model import ManagedModel
from engines.manager.states import ModelState, check

_NEWEST = 0.3  # its weight in the mean gap


@dataclass(frozen=True)
class Event:
    """A transition, for logs, metrics and `ps`."""

    at_s: float
    model: str
    before: ModelState
    after: ModelState
    reason: str


@dataclass(slots=True, eq=False)
class Record:
    """`held`: what it takes on the devices now, which lasts until the engine says it is gone."""

    model: ManagedModel
    tell: Callable[[Event], None]
    state: ModelState = ModelState.COLD
    held: Bytes = field(default_factory=dict)
    victim: Victim | None = None  # while DRAINING: what becomes of it
    promised: bool = False  # its room is being made; it is loaded as soon as it is there
    working: bool = False  # the engine is loading, waking, going to sleep or unloading
    in_flight: int = 0
    idle_since_s: float = 0.0
    until_s: float = inf  # end of its keep_alive
    reload_cost_s: float = 0.0
    asked_at_s: float | None = None
    gap_s: float = inf  # between requests for it, the latest counting most
    cooldown: Cooldown | None = None
    leaving: bool = False  # out of the config; forgotten when nothing of it is left
    successor: ManagedModel | None = None  # what it is from its next load on

    def go(self, after: ModelState, now_s: float, reason: str) -> None:
        """Raises IllegalTransitionError."""
        check(self.model.name, self.state, after)
        event = Event(now_s, self.model.name, self.state, after, reason)
        self.state = after
        self.tell(event)

    @property
    def needs(self) -> Bytes:
        """While it loads or wakes: what it will take, and what of its sleep is still there."""
        return most(self.model.vram_bytes, self.held)

    def asked(self, now_s: float) -> None:
        """A request for it has come. A gap much longer than a load says no more than "seldom"."""
        if self.asked_at_s is not None:
            gap_s = min(now_s - self.asked_at_s, 2 * self.reload_cost_s)
            known = self.gap_s != inf
            self.gap_s = self.gap_s + _NEWEST * (gap_s - self.gap_s) if known else gap_s
        self.asked_at_s = now_s

    def in_demand_until_s(self) -> float:
        """An idle model that is asked for more often than it can be loaded stays for one gap."""
        return self.idle_since_s + (self.gap_s if self.gap_s < self.reload_cost_s else 0.0)

    def idles(self, now_s: float, keep_alive: KeepAlive | None) -> None:
        """From now on nobody uses it. The last request's own wish counts before the model's."""
        seconds = (keep_alive or self.model.keep_alive).seconds
        self.idle_since_s = now_s
        self.until_s = inf if seconds is None else now_s + seconds

    def cools(self, now_s: float) -> bool:
        return self.cooldown is not None and now_s < self.cooldown.until_s

    def expires(self, now_s: float) -> bool:
        """Its keep_alive is over and nothing speaks for keeping it."""
        spoken_for = self.promised or self.working or self.in_flight or self.model.pinned
        stays = self.state not in (ModelState.READY, ModelState.SLEEPING)
        return not (spoken_for or stays) and self.until_s <= now_s

    def standing(self, now_s: float) -> Standing:
        """As a plan sees it: what it will hold once all that was decided has happened."""
        holds = self.needs if self.promised else self.held
        if self.state is ModelState.DRAINING:
            holds = self.victim.leaves if self.victim else NOTHING
        return Standing(
            name=self.model.name,
            state=self.state,
            holds=holds,
            asleep_bytes=self.model.asleep_bytes,
            idle_since_s=self.idle_since_s,
            reload_cost_s=self.reload_cost_s,
            in_flight=self.in_flight,
            until_s=self.until_s,
            pinned=self.model.pinned,
            in_demand=self.state is ModelState.READY and now_s < self.in_demand_until_s(),
            fixed=self.promised or self.working or self._stuck(now_s),
        )

    def _stuck(self, now_s: float) -> bool:
        return self.state is ModelState.FAILED and self.cools(now_s)
