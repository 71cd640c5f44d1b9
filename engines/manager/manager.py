"""The shell around the yard: tasks, timers and engines. `ensure_ready` is the only way in.

All state belongs to the event loop that entered the manager; between two awaits nothing changes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable
from copy import copy
from types import TracebackType
from typing import Self

from common.errors import DeadlineError, UnavailableError
from common.keep_alive import KeepAlive
from engines.manager.amounts import Bytes
from engines.manager.books import Job, Turn
from engines.manager.lease import Lease
from engines.manager.line import Bounds, Ticket
from engines.manager.model import ManagedModel
from engines.manager.record import Event
from engines.manager.states import ModelState
from engines.manager.status import Status, status_of
from engines.manager.work import Engines, Limits, perform
from engines.manager.yard import Yard

_LOADABLE = frozenset({ModelState.COLD, ModelState.SLEEPING, ModelState.FAILED})


class Manager:
    """Use as `async with Manager(...) as manager:`. Leaving ends what waits, not what is loaded."""

    def __init__(
        self,
        models: Iterable[ManagedModel],
        budget: Bytes,
        engines: Engines,
        *,
        bounds: Bounds | None = None,
        limits: Limits | None = None,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._yard = Yard(models, budget, bounds or Bounds(), tell)
        self._tell = tell
        self._engines = engines
        self._limits = limits or Limits()
        self._waiters: dict[Ticket, asyncio.Future[None]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        if self._timer:
            self._timer.cancel()
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(UnavailableError("the server is shutting down"))
        for job in self._jobs:
            job.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def ensure_ready(
        self, model: str, deadline_s: float, keep_alive: KeepAlive | None = None
    ) -> Lease:
        """Returns when the model can take the request, which is in flight until it is released.

        Callers need not know the model's state: ready returns at once, cold and sleeping are
        loaded and woken in their turn, draining waits. Raises ModelNotFoundError (404),
        DeadlineError (504) after `deadline_s` seconds, EngineLoadError (503, why and Retry-After)
        when the load failed a moment ago, UnavailableError (503) when there cannot be room for it.
        """
        if self._closing:
            raise UnavailableError("the server is shutting down")
        arrived_at_s = self._loop.time()
        is_open = self._yard.admits(model)
        ticket = self._yard.arrive(model, arrived_at_s, keep_alive)
        if is_open:
            self._yard.books.line.leave(ticket)
            self._yard.books.grant(ticket)
        else:
            await self._wait(ticket, deadline_s)
        return Lease(ticket, self._loop.time() - arrived_at_s, self._release)

    def change(
        self,
        models: Iterable[ManagedModel],
        reload: Collection[str],
        bounds: Bounds,
    ) -> None:
        """Other models from now on. Those not among them end; those of `reload` are loaded anew for
        their next request; the rest only hear what is new of them."""
        wanted = {model.name: model for model in models}
        for name in set(self._yard.books.records) - set(wanted):
            self._yard.remove(name)
        for name, model in wanted.items():
            if name in self._yard.books.records:
                self._yard.replace(model, reload=name in reload)
            else:
                self._yard.add(model, self._tell)
        self._yard.books.bounds = bounds
        self._take_turn()

    def unload(self, model: str) -> None:
        """Makes it go when what is in flight has ended. Raises ModelNotFoundError."""
        self._yard.unload(model, self._loop.time())
        self._take_turn()

    def files(self, model: str, state: ModelState, reason: str) -> None:
        """What a download tells: PULLING, then COLD, or FAILED; ABSENT when they were removed."""
        self._yard.files(model, state, self._loop.time(), reason)
        self._take_turn()

    def lost(self, model: str, error: BaseException) -> None:
        """What a health check tells: the engine of a loaded model is dead."""
        self._yard.lost(model, error, self._loop.time())
        self._take_turn()

    def may_load(self, model: str) -> bool:
        """It is not loaded, and the next request for it would begin that."""
        record = self._yard.record(model)
        return record.state in _LOADABLE and not record.cools(self._loop.time())

    def status(self) -> list[Status]:
        """For `ps`."""
        books, now_s = self._yard.books, self._loop.time()
        return [status_of(r, books.line.waiting(n), now_s) for n, r in books.records.items()]

    async def _wait(self, ticket: Ticket, deadline_s: float) -> None:
        waiter = self._waiters[ticket] = self._loop.create_future()
        self._take_turn()
        try:
            async with asyncio.timeout(deadline_s):
                await waiter
        except BaseException as error:
            self._yard.give_up(ticket, self._loop.time())
            self._take_turn()
            if isinstance(error, TimeoutError):
                raise self._late(ticket, deadline_s) from None
            raise
        finally:
            del self._waiters[ticket]
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # seen, even where a cancel came in between

    def _late(self, ticket: Ticket, deadline_s: float) -> DeadlineError:
        state = self._yard.record(ticket.model).state
        return DeadlineError(f"{ticket.model} was not ready within {deadline_s:g} s; it is {state}")

    def _release(self, ticket: Ticket) -> None:
        self._yard.release(ticket, self._loop.time())
        if self._yard.books.line or not self._is_watched(ticket.model):
            self._take_turn()

    def _is_watched(self, model: str) -> bool:
        """Nothing can follow from its falling idle before the timer runs that there is."""
        record = self._yard.record(model)
        next_turn_at_s = self._timer.when() if self._timer else math.inf
        is_kept = record.state is ModelState.READY and record.until_s >= next_turn_at_s
        return record.in_flight > 0 or is_kept

    def _take_turn(self) -> None:
        """Does what follows from what has happened, and sees to it that time passing is noticed."""
        if self._closing:
            return
        now_s = self._loop.time()  # one for both: what ends between two would be seen by neither
        self._do(self._yard.turn(now_s))
        if self._timer:
            self._timer.cancel()
        at_s = self._yard.next_at_s(now_s)
        finite = at_s is not None and math.isfinite(at_s)
        self._timer = self._loop.call_at(at_s, self._take_turn) if at_s and finite else None

    def _do(self, turn: Turn) -> None:
        for ticket in turn.granted:
            if not self._waiters[ticket].done():  # else cancelled, and about to give up
                self._waiters[ticket].set_result(None)
        for ticket, error in turn.refused:
            if not self._waiters[ticket].done():
                self._waiters[ticket].set_exception(copy(error))  # each raises one of its own
        for job in turn.jobs:
            task = self._tasks.create_task(self._run(job))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _run(self, job: Job) -> None:
        """One job from start to end, however it ends; then the next turn."""
        began_at_s = self._loop.time()
        outcome = await perform(self._engines, job, self._limits)
        now_s = self._loop.time()
        if outcome.error is None:
            self._yard.done(outcome.job, now_s, now_s - began_at_s)
        else:
            self._yard.failed(outcome.job, outcome.error, now_s, is_gone=outcome.is_gone)
        self._take_turn()
