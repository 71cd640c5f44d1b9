"""What the manager has on its books: every model's record, the line, what is promised, what to do.

Used by yard.py and schedule.py only; each method keeps the books consistent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from common.errors import RoundhouseError
from engines.manager.amounts import Bytes, over, total
from engines.manager.cooldown import after_failure
from engines.manager.eviction import Standing, Victim
from engines.manager.line import Bounds, Line, Ticket
from engines.manager.record import Record
from engines.manager.states import ModelState


class Verb(StrEnum):
    LOAD = "load"
    WAKE = "wake"
    SLEEP = "sleep"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Job:
    """What an engine is to do. `level` matters to SLEEP only."""

    verb: Verb
    model: str
    level: int = 0


@dataclass
class Turn:
    """What the shell is to do now."""

    granted: list[Ticket] = field(default_factory=list)
    refused: list[tuple[Ticket, RoundhouseError]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


@dataclass
class Books:
    """`closed`: models that are ready, but get no new requests, because others' turn has come."""

    records: dict[str, Record]
    budget: Bytes
    bounds: Bounds
    line: Line = field(default_factory=Line)
    promised: list[Record] = field(default_factory=list)  # in the order of the promises
    closed: frozenset[str] = frozenset()
    turn: Turn = field(default_factory=Turn)

    def standings(self, now_s: float) -> list[Standing]:
        return [record.standing(now_s) for record in self.records.values()]

    def is_over(self, record: Record, amount: Bytes) -> bool:
        """Would it be too much beside all that is held now, going or not?"""
        others = (r.held for r in self.records.values() if r is not record)
        return any(d in amount for d in over(total([amount, *others]), self.budget))

    def grant(self, ticket: Ticket) -> None:
        ticket.granted = True
        self.records[ticket.model].in_flight += 1

    def refuse(self, tickets: Iterable[Ticket], error: RoundhouseError) -> None:
        self.turn.refused += [(ticket, error) for ticket in tickets]

    def promise(self, record: Record) -> None:
        record.promised = True
        self.promised.append(record)

    def withdraw(self, record: Record) -> None:
        record.promised = False
        if record in self.promised:
            self.promised.remove(record)

    def drain(self, victim: Victim, now_s: float, reason: str) -> None:
        record = self.records[victim.name]
        record.victim = victim
        record.go(ModelState.DRAINING, now_s, reason)

    def work(self, record: Record, verb: Verb, level: int = 0) -> None:
        record.working = True
        self.turn.jobs.append(Job(verb, record.model.name, level))

    def fail(self, record: Record, error: BaseException, now_s: float) -> None:
        """It is not tried again for a while, and all who wait for it hear why."""
        failures = record.cooldown.failures if record.cooldown else 0
        record.cooldown = cooldown = after_failure(error, failures, now_s)
        if record.state is not ModelState.FAILED:
            record.go(ModelState.FAILED, now_s, f"{cooldown.cause}: {cooldown.message}")
        name = record.model.name
        self.refuse(self.line.take(name), cooldown.error(name, now_s))
