"""The manager without its shell: it is told what happens, and says what is to be done.

No clock, no task, no engine. Call an event's method, then `turn`. All times are seconds of one
clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from common.errors import ModelNotFoundError, UnavailableError
from common.keep_alive import KeepAlive
from engines.manager import schedule
from engines.manager.amounts import NOTHING, Bytes
from engines.manager.books import Books, Job, Turn, Verb
from engines.manager.eviction import Victim
from engines.manager.line import Bounds, Ticket
from engines.manager.model import ManagedModel
from engines.manager.record import Event, Record
from engines.manager.states import ModelState

_LOADED = frozenset({ModelState.READY, ModelState.SLEEPING})


class Yard:
    def __init__(
        self,
        models: Iterable[ManagedModel],
        budget: Bytes,
        bounds: Bounds,
        tell: Callable[[Event], None],
    ) -> None:
        records = {model.name: _record(model, tell) for model in models}
        self.books = Books(records, budget, bounds)

    def arrive(self, name: str, now_s: float, keep_alive: KeepAlive | None = None) -> Ticket:
        """A request. Raises ModelNotFoundError, UnavailableError, or why the last load failed."""
        record = self.record(name)
        if record.leaving:
            raise _removed(name)
        if record.state is ModelState.ABSENT:
            raise UnavailableError(f"{name} is not on this disk; pull it first")
        if record.cooldown and record.cools(now_s):
            raise record.cooldown.error(name, now_s)
        record.asked(now_s)
        return self.books.line.join(name, now_s, keep_alive)

    def give_up(self, ticket: Ticket, now_s: float) -> None:
        """The client has gone, or its time is over."""
        if ticket.granted:
            self.release(ticket, now_s)
        else:
            self.books.line.leave(ticket)

    def release(self, ticket: Ticket, now_s: float) -> None:
        """A request that was granted has ended. To be called once."""
        record = self.books.records[ticket.model]
        record.in_flight -= 1
        if not record.in_flight:
            record.idles(now_s, ticket.keep_alive)

    def unload(self, name: str, now_s: float) -> None:
        """Somebody wants it gone. What is in flight ends first; nothing happens to other states."""
        record = self.record(name)
        if record.state in _LOADED and not record.promised:
            self.books.drain(Victim(name), now_s, "unload was asked for")

    def add(self, model: ManagedModel, tell: Callable[[Event], None]) -> None:
        self.books.records[model.name] = _record(model, tell)

    def replace(self, model: ManagedModel, *, reload: bool) -> None:
        """Another entry of that name: from now on, or after a drain and with the next load."""
        record = self.record(model.name)
        if reload or record.successor:
            record.successor = model
        else:
            record.model = model

    def remove(self, name: str) -> None:
        """Who waits for it hears that it is gone; what is in flight ends first."""
        record = self.record(name)
        record.leaving, record.successor = True, None
        self.books.withdraw(record)
        self.books.refuse(self.books.line.take(name), _removed(name))

    def files(self, name: str, state: ModelState, now_s: float, reason: str) -> None:
        """Its files are being pulled (PULLING), are there (COLD), or are not (ABSENT, FAILED)."""
        self.record(name).go(state, now_s, reason)
        if state in (ModelState.ABSENT, ModelState.FAILED):
            error = UnavailableError(f"{name} is not on this disk: {reason}")
            self.books.refuse(self.books.line.take(name), error)

    def lost(self, name: str, error: BaseException, now_s: float) -> None:
        """Its engine ended by itself; what is left of it is unloaded."""
        record = self.record(name)
        if record.working or record.state not in _LOADED:
            return  # the job that is under way, or the next one, will find out
        self.books.withdraw(record)
        self.books.fail(record, error, now_s)
        self.books.work(record, Verb.UNLOAD)

    def done(self, job: Job, now_s: float, took_s: float) -> None:
        record = self.books.records[job.model]
        record.working = False
        if job.verb in (Verb.LOAD, Verb.WAKE):
            record.held, record.cooldown = record.model.vram_bytes, None
            record.reload_cost_s = took_s
            record.idles(now_s, None)
            record.go(ModelState.READY, now_s, f"{job.verb} took {took_s:.1f} s")
            return
        is_asleep = job.verb is Verb.SLEEP
        record.held = record.victim.leaves if is_asleep and record.victim else NOTHING
        record.victim = None
        if record.state is ModelState.DRAINING:
            after = ModelState.SLEEPING if is_asleep else ModelState.COLD
            record.go(after, now_s, f"{job.verb} took {took_s:.1f} s")

    def failed(self, job: Job, error: BaseException, now_s: float, *, is_gone: bool) -> None:
        """`is_gone`: the engine says that nothing of it is left; else its bytes still count."""
        record = self.books.records[job.model]
        record.working, record.victim = False, None
        if is_gone:
            record.held = NOTHING
        self.books.fail(record, error, now_s)

    def turn(self, now_s: float) -> Turn:
        """What is to be done since the last turn."""
        books = self.books
        schedule.grant(books)
        schedule.dismiss(books, now_s)
        schedule.expire(books, now_s)
        schedule.keep_promises_true(books, now_s)
        while True:
            books.closed = schedule.make_room(books, now_s)
            if not schedule.grant(books):  # what is open again
                break
        schedule.start(books, now_s)
        turn, books.turn = books.turn, Turn()
        return turn

    def admits(self, name: str) -> bool:
        """A request for it need not wait."""
        books, record = self.books, self.record(name)
        is_open = record.state is ModelState.READY and name not in books.closed
        return is_open and not books.line.waiting(name)

    def next_at_s(self, now_s: float) -> float | None:
        """When time alone changes something: a turn that is due, a keep_alive, a pause."""
        times = [group.due_at_s(self.books.bounds) for group in self.books.line]
        for record in self.books.records.values():
            if not record.in_flight:
                times += [record.until_s, record.in_demand_until_s()]
            times.append(record.cooldown.until_s if record.cooldown else None)
        return min((at for at in times if at is not None and at > now_s), default=None)

    def record(self, name: str) -> Record:
        if name not in self.books.records:
            there = ", ".join(self.books.records)
            raise ModelNotFoundError(f"no model {name!r}; there are: {there}")
        return self.books.records[name]


def _removed(name: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"model {name!r} has been removed from the config", param="model")


def _record(model: ManagedModel, tell: Callable[[Event], None]) -> Record:
    state = ModelState.COLD if model.on_disk else ModelState.ABSENT
    return Record(model, tell, state=state, reload_cost_s=model.reload_cost_s)
