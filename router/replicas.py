"""What the router knows of each replica, and the queue in front of a model's replicas."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.errors import (
    BusyError,
    OutOfMemoryError,
    QueueFullError,
    RestingError,
    UnavailableError,
)
from common.keep_alive import KeepAlive
from common.routing_config import BreakerConfig
from engines.base import EngineStatus, State
from engines.endpoint import Endpoint
from engines.manager.lease import Lease
from router.breaker import Breaker, Verdict
from router.call import NO_CALL, Call
from router.hits import HitWindow
from router.policies.base import Policy

_RETRY_AFTER_S = 5
_LONGEST_REST_S = 60.0  # a provider that asks for more is asked again after that


@dataclass(slots=True, eq=False)
class Replica:
    """One running copy of a model, as the router sees it. Belongs to the router's event loop."""

    id: str
    model: str
    max_in_flight: int
    token: str = ""
    gpu_ids: tuple[str, ...] = ()
    state: State = State.STARTING
    phase: str = ""
    url: str | None = None
    pid: int = 0
    in_flight: int = 0
    tokens_in_flight: int = 0  # prompt tokens, as estimated, of those in flight
    served: int = 0
    restarts: int = 0
    error: str | None = None
    error_code: str | None = None
    started_at: float = 0.0
    ready_after_s: float | None = None
    max_model_len: int | None = None
    version: str | None = None
    loaded: bool | None = None
    vram_bytes: int | None = None
    loaded_until: float | None = None
    served_as: str | None = None  # its engine's name for the model, where that is another
    endpoint: Endpoint | None = None  # set where somebody else runs it
    keeps_alive: bool = True  # False: a connection to it is good for one request
    breaker: Breaker = field(default_factory=Breaker)
    prefix_hits: HitWindow = field(default_factory=HitWindow)

    def update(self, status: EngineStatus) -> bool:
        """Takes over the replica's own report. True when what its process knew is gone."""
        restarted = bool(self.pid and status.pid and status.pid != self.pid)
        self.restarts += restarted
        self.pid = status.pid or self.pid
        unloaded = status.state is State.COLD
        if unloaded:
            self.pid = 0  # the next one is no restart
        if restarted or unloaded:
            self.breaker.reset()
            self.prefix_hits.reset()
        self.state, self.phase, self.url = status.state, status.phase, status.url
        self.error, self.error_code = status.error, status.error_code
        self.started_at, self.ready_after_s = status.started_at, status.ready_after_s
        self.max_model_len = status.max_model_len or self.max_model_len
        self.version, self.loaded = status.version, status.loaded
        self.vram_bytes, self.loaded_until = status.vram_bytes, status.loaded_until
        return restarted or unloaded

    def lost(self) -> None:
        """Nobody answers there; the next report tells when somebody does again."""
        self.state, self.phase, self.url = State.STARTING, "waiting for its process", None


class Keeper(Protocol):
    async def ensure_ready(
        self, model: str, deadline_s: float, keep_alive: KeepAlive | None = None
    ) -> Lease: ...

    def may_load(self, model: str) -> bool: ...


class Lane:
    """One model's replicas, and the requests that wait for one of them to have room."""

    def __init__(
        self,
        model: str,
        replicas: Sequence[Replica],
        policy: Policy,
        *,
        max_queued: int,
        queue_timeout_s: float,
        breaker: BreakerConfig | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.model = model
        self.replicas = replicas
        self.policy = policy
        self.on_demand = False  # True: it need not be loaded for all to be well
        self.load_s: float | None = None  # what its last load took
        self.keeper: Keeper | None = None  # of a model that is loaded and unloaded here
        self.clock = clock
        self._max_queued = max_queued
        self._queue_timeout_s = queue_timeout_s
        for replica in replicas:
            replica.breaker.config = breaker or BreakerConfig()
        self._rests_until: dict[Replica, float] = {}
        # In order of arrival, each with the replicas that it must not get.
        self._waiting: dict[asyncio.Future[Replica], tuple[Collection[Replica], Call]] = {}

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def context_len(self) -> int | None:
        """What every replica that has told it can hold, in tokens."""
        return min((r.max_model_len for r in self.replicas if r.max_model_len), default=None)

    def set_limits(self, like: Lane, breaker: BreakerConfig) -> None:
        """Those of another lane, from now on."""
        self._max_queued, self._queue_timeout_s = like._max_queued, like._queue_timeout_s
        for replica in self.replicas:
            replica.breaker.config = breaker

    async def lease(self, wait_s: float, keep_alive: KeepAlive | None = None) -> Lease | None:
        """Sees to it that the model is loaded, and stays for as long as the lease is not released.

        To be taken before `acquire`, by whoever sends a request. None for a model that others
        load. Raises what engines.manager.manager.Manager.ensure_ready does.
        """
        if self.keeper is None:
            return None
        return await self.keeper.ensure_ready(self.model, wait_s, keep_alive)

    async def acquire(self, exclude: Collection[Replica] = (), call: Call = NO_CALL) -> Replica:
        """A ready replica with room, counted as in flight until `release`.

        Waits in line while all are full. Raises UnavailableError when no replica outside of
        `exclude` is ready or the wait was too long, QueueFullError when too many wait already.
        """
        # Those in line have been offered what room there is, so nobody is overtaken.
        replica = self._pick(exclude, call)
        if replica is None:
            return await self._wait(exclude, call)
        self._take(replica, call)
        return replica

    def try_acquire(self, exclude: Collection[Replica], call: Call = NO_CALL) -> Replica | None:
        """Like `acquire`, but only of a replica in good health that has room now."""
        if not self.can_serve(exclude):
            return None
        replica = self._pick(exclude, call)
        if replica is not None:
            self._take(replica, call)
        return replica

    def release(
        self,
        replica: Replica,
        call: Call = NO_CALL,
        verdict: Verdict = Verdict.NEITHER,
        departed_at: float = 0.0,
    ) -> None:
        """The attempt is over; the verdict on a request that left at `departed_at` is kept."""
        replica.served += 1
        replica.breaker.arrive(verdict, self.clock(), departed_at)
        self._free(replica, call)

    def rest(self, replica: Replica, for_s: float) -> None:
        """It has asked not to be asked for so long."""
        self._rests_until[replica] = self.clock() + min(for_s, _LONGEST_REST_S)

    def rests(self, replica: Replica) -> bool:
        return bool(self._rests_until) and self._rests_until.get(replica, 0.0) > self.clock()

    def report(self, replica: Replica, status: EngineStatus | None) -> None:
        """A replica's own report, or None when it could not be had."""
        if status is None:
            replica.lost()
        else:
            if replica.update(status):
                self.policy.forget(replica.id)
            self._tell_of_cache(replica, status)
        self.wake()

    def _tell_of_cache(self, replica: Replica, status: EngineStatus) -> None:
        if status.kv_tokens is not None:
            self.policy.provision(replica.id, status.kv_tokens)
        share = replica.prefix_hits.share(status.prefix_queries, status.prefix_hits)
        if share is not None:
            self.policy.observe(replica.id, share)

    def wake(self) -> None:
        """Hands out what room there is, in line; called when room or a replica has come up."""
        for turn, (exclude, call) in self._waiting.items():
            if turn.done():  # its request has not run since
                continue
            try:
                replica = self._pick(exclude, call)
            except UnavailableError as error:
                turn.set_exception(error)
                continue
            if replica is not None:
                self._take(replica, call)
                turn.set_result(replica)
            elif not exclude:  # then there is no room for anybody
                return

    def has_ready(self, exclude: Collection[Replica] = ()) -> bool:
        return any(r.state is State.READY and r not in exclude for r in self.replicas)

    @property
    def can_load(self) -> bool:
        """It is not loaded, and a request would change that."""
        return self.keeper is not None and self.keeper.may_load(self.model)

    def can_serve(self, exclude: Collection[Replica] = ()) -> bool:
        """Is a ready replica's breaker closed, or waiting for a probe?"""
        return any(
            r.state is State.READY and r not in exclude and self._admits(r) and not self.rests(r)
            for r in self.replicas
        )

    def _pick(self, exclude: Collection[Replica], call: Call) -> Replica | None:
        ready = [r for r in self.replicas if r.state is State.READY and r not in exclude]
        if not ready:
            raise self._unavailable()
        if self._rests_until:
            ready = self._awake(ready)
        # A breaker sends requests to others. Where there are none, refusing would turn what may
        # be over by now into a sure failure, so the one that has rested longest is tried.
        sound = [r for r in ready if self._admits(r)] or [
            min(ready, key=lambda r: r.breaker.opened_at)
        ]
        with_room = [r for r in sound if r.in_flight < r.max_in_flight]
        return self.policy.pick(with_room, call) if with_room else None

    def _awake(self, ready: list[Replica]) -> list[Replica]:
        """Raises RestingError when all of them have asked for a pause."""
        now = self.clock()
        self._rests_until = {r: until for r, until in self._rests_until.items() if until > now}
        awake = [replica for replica in ready if replica not in self._rests_until]
        if not awake:
            rest_s = min(self._rests_until[replica] for replica in ready) - now
            raise RestingError(
                f"model {self.model!r}: its provider has asked for a pause of {rest_s:.0f} s more",
                retry_after_s=math.ceil(rest_s),
            )
        return awake

    def _admits(self, replica: Replica) -> bool:
        return replica.breaker.closed or replica.breaker.admits(self.clock())

    def _take(self, replica: Replica, call: Call) -> None:
        replica.in_flight += 1
        replica.tokens_in_flight += call.n_tokens
        if not replica.breaker.closed:
            replica.breaker.depart(self.clock())

    async def _wait(self, exclude: Collection[Replica], call: Call) -> Replica:
        if len(self._waiting) >= self._max_queued:
            raise QueueFullError(
                f"model {self.model!r} has {len(self._waiting)} requests waiting already "
                f"(server.max_queued is {self._max_queued})",
                retry_after_s=_RETRY_AFTER_S,
            )
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                return await self._in_line(exclude, call)
        except TimeoutError:
            raise BusyError(
                f"model {self.model!r} was busy for {self._queue_timeout_s:g} s "
                "(server.queue_timeout)",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    async def _in_line(self, exclude: Collection[Replica], call: Call) -> Replica:
        """Stays in line until `wake` hands it a replica, which is then counted already."""
        turn: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = exclude, call
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It was handed one, and left before it knew.
                turn.result().breaker.arrive(Verdict.NEITHER, self.clock(), self.clock())
                self._free(turn.result(), call)
            raise
        finally:
            del self._waiting[turn]

    def _free(self, replica: Replica, call: Call) -> None:
        replica.in_flight -= 1
        replica.tokens_in_flight -= call.n_tokens
        self.wake()

    def _unavailable(self) -> UnavailableError:
        told = "; ".join(sorted({_in_words(replica) for replica in self.replicas}))
        code = next((r.error_code for r in self.replicas if r.error_code), None)
        error = UnavailableError(
            f"model {self.model!r} has no ready replica: {told}", retry_after_s=_RETRY_AFTER_S
        )
        if code:
            error.code = code  # type: ignore[misc]  # the cause tells more than "unavailable"
        if code == OutOfMemoryError.code:
            error.trigger = OutOfMemoryError.trigger
        return error


def _in_words(replica: Replica) -> str:
    detail = replica.error or replica.phase
    return f"{replica.state}{f' ({detail})' if detail else ''}"
