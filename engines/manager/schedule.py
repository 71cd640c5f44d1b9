"""Who is served next: grants, promises of room, loads. Reads as: grant, make room, start.

A model is loaded in two steps. First its room is promised and whoever is in the way is drained;
then, when the engines say that those bytes are free, its load begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import UnavailableError
from engines.manager import eviction
from engines.manager.amounts import most, over, total
from engines.manager.books import Books, Verb
from engines.manager.eviction import Because, Refusal, Victim
from engines.manager.line import Group
from engines.manager.record import Record
from engines.manager.states import ModelState

_SERVED = frozenset({ModelState.PULLING, ModelState.LOADING})
_LOADED = frozenset({ModelState.READY, ModelState.SLEEPING})
_AT_REST = frozenset({ModelState.ABSENT, ModelState.COLD, ModelState.FAILED})


def grant(books: Books) -> bool:
    """Everybody who waits for a model that is ready and open; False when there is nobody."""
    before = len(books.turn.granted)
    for group in books.line:
        record = books.records[group.model]
        if record.state is ModelState.READY and group.model not in books.closed:
            for ticket in books.line.take(group.model):
                books.grant(ticket)
                books.turn.granted.append(ticket)
    return len(books.turn.granted) > before


def expire(books: Books, now_s: float) -> None:
    for record in books.records.values():
        if record.expires(now_s):
            books.drain(Victim(record.model.name), now_s, "keep_alive is over")


def dismiss(books: Books, now_s: float) -> None:
    """Models that leave or change are drained; those of which nothing is left go, or are new."""
    for record in list(books.records.values()):
        if not (record.leaving or record.successor) or record.working:
            continue
        if record.state in _LOADED or (record.held and _may_be_cleared(record, now_s)):
            books.withdraw(record)
            books.drain(Victim(record.model.name), now_s, "the config has changed")
        elif record.state in _AT_REST and not record.held:
            _renew(books, record, now_s)


def _may_be_cleared(record: Record, now_s: float) -> bool:
    return record.state is ModelState.FAILED and not record.cools(now_s)


def _renew(books: Books, record: Record, now_s: float) -> None:
    if record.leaving:
        if not record.in_flight:
            del books.records[record.model.name]
    elif record.successor:
        record.model, record.successor, record.cooldown = record.successor, None, None
        if record.state is ModelState.FAILED:
            record.go(ModelState.COLD, now_s, "the config has changed")


def keep_promises_true(books: Books, now_s: float) -> None:
    """A promise ends when nobody waits for it any more, or when a failed unload left less room.

    Then the last ones give way.
    """
    for record in reversed(books.promised[:]):
        holds = total(standing.holds for standing in books.standings(now_s))
        is_short = any(device in record.needs for device in over(holds, books.budget))
        if is_short or not books.line.waiting(record.model.name):
            books.withdraw(record)


def make_room(books: Books, now_s: float) -> frozenset[str]:
    """Promises room to groups, the oldest first; returns the models that must become idle."""
    waiting: list[Group] = []  # those who may be overtaken by the rest
    is_first = True
    for group in books.line:
        if due := _due(books, waiting, now_s):
            return _in_the_way(books, due, now_s)
        record = books.records[group.model]
        if record.state not in _SERVED and not _is_coming(record):
            if is_first and group.turn_at_s is None:
                group.turn_at_s = now_s
            is_first = False
            _settle(books, group, now_s)
        if record.state not in _SERVED and books.line.waiting(group.model):
            waiting.append(group)
    due = _due(books, waiting, now_s)
    return _in_the_way(books, due, now_s) if due else frozenset()


def start(books: Books, now_s: float) -> None:
    """Drained models go, and promised ones are loaded as soon as their bytes are free."""
    for record in books.records.values():
        if record.state is ModelState.DRAINING and not (record.in_flight or record.working):
            _retire(books, record)
    for record in books.promised[:]:
        _keep_promise(books, record, now_s)


def _due(books: Books, waiting: Sequence[Group], now_s: float) -> Record | None:
    """The oldest that nobody may overtake any more."""
    due = (group for group in waiting if group.is_due(books.bounds, now_s))
    group = next(due, None)
    return books.records[group.model] if group else None


def _is_coming(record: Record) -> bool:
    """It has its room, or that is being made, or it is still on its way out."""
    is_there = record.state in (ModelState.READY, ModelState.DRAINING)
    return is_there or record.promised or record.working


def _settle(books: Books, group: Group, now_s: float) -> None:
    """Promises it its room, or tells it that it can never have any, or leaves it to wait."""
    record = books.records[group.model]
    if record.state is ModelState.FAILED and record.held:
        books.drain(Victim(group.model), now_s, "cleared up to be loaded again")
        return
    standings = books.standings(now_s)
    is_due = group.is_due(books.bounds, now_s)
    plan = eviction.plan(group.model, record.needs, standings, books.budget, now_s, is_due=is_due)
    if isinstance(plan, Refusal):
        _refuse(books, group, plan)
        return
    for victim in plan.victims:
        books.drain(victim, now_s, f"room for {group.model}")
    books.line.overtake(group, _without_a_wait(books))
    books.promise(record)
    _keep_promise(books, record, now_s)


def _refuse(books: Books, group: Group, refusal: Refusal) -> None:
    """But for who has only to wait."""
    if refusal.because is not Because.BUSY:
        error = UnavailableError(refusal.reason)
        error.trigger = "out_of_memory"
        books.refuse(books.line.take(group.model), error)


def _without_a_wait(books: Books) -> frozenset[str]:
    """Nobody can overtake those that load already, or that wait for a download."""
    states = (ModelState.LOADING, ModelState.PULLING)
    return frozenset(name for name, record in books.records.items() if record.state in states)


def _in_the_way(books: Books, record: Record, now_s: float) -> frozenset[str]:
    if _is_coming(record):
        return frozenset()
    standings = books.standings(now_s)
    return eviction.in_the_way(record.model.name, record.needs, standings, books.budget, now_s)


def _keep_promise(books: Books, record: Record, now_s: float) -> None:
    """Its load begins if its bytes are free already."""
    if books.is_over(record, record.needs):
        return
    books.withdraw(record)
    verb = Verb.WAKE if record.state is ModelState.SLEEPING else Verb.LOAD
    record.held = record.needs
    waiting = books.line.waiting(record.model.name)
    record.go(ModelState.LOADING, now_s, f"{waiting} waiting")
    books.work(record, verb)


def _retire(books: Books, record: Record) -> None:
    victim = record.victim or Victim(record.model.name)
    while_falling_asleep = most(record.held, victim.leaves)
    if victim.level and books.is_over(record, while_falling_asleep):
        victim = Victim(victim.name)  # another's bytes are still where it would sleep
    record.victim = victim
    if victim.level:
        record.held = while_falling_asleep
    books.work(record, Verb.SLEEP if victim.level else Verb.UNLOAD, victim.level)
