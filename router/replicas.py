"""What the router knows of each replica, and the queue in front of a model's replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.errors import QueueFullError, UnavailableError
from engines.base import EngineStatus, State
from router.policies.base import Policy

_RETRY_AFTER_S = 5


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
    served: int = 0
    restarts: int = 0
    error: str | None = None
    error_code: str | None = None
    started_at: float = 0.0
    ready_after_s: float | None = None
    max_model_len: int | None = None

    def update(self, status: EngineStatus) -> None:
        """Takes over the replica's own report; another process than before is a restart."""
        if self.pid and status.pid and status.pid != self.pid:
            self.restarts += 1
        self.pid = status.pid or self.pid
        self.state, self.phase, self.url = status.state, status.phase, status.url
        self.error, self.error_code = status.error, status.error_code
        self.started_at, self.ready_after_s = status.started_at, status.ready_after_s
        self.max_model_len = status.max_model_len or self.max_model_len

    def lost(self) -> None:
        """Nobody answers there; the next report tells when somebody does again."""
        self.state, self.phase, self.url = State.STARTING, "waiting for its process", None


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
    ) -> None:
        self.model = model
        self.replicas = replicas
        self._policy = policy
        self._max_queued = max_queued
        self._queue_timeout_s = queue_timeout_s
        # In order of arrival, each with the replicas that it must not get.
        self._waiting: dict[asyncio.Future[Replica], Collection[Replica]] = {}

    @property
    def queued(self) -> int:
        return len(self._waiting)

    async def acquire(self, exclude: Collection[Replica] = ()) -> Replica:
        """A ready replica with room, counted as in flight until `release`.

        Waits in line while all are full. Raises UnavailableError when no replica outside of
        `exclude` is ready or the wait was too long, QueueFullError when too many wait already.
        """
        # Those in line have been offered what room there is, so nobody is overtaken.
        replica = self._pick(exclude)
        if replica is None:
            return await self._wait(exclude)
        replica.in_flight += 1
        return replica

    def release(self, replica: Replica) -> None:
        replica.served += 1
        self._free(replica)

    def wake(self) -> None:
        """Hands out what room there is, in line; called when room or a replica has come up."""
        for turn, exclude in self._waiting.items():
            if turn.done():  # its request has not run since
                continue
            try:
                replica = self._pick(exclude)
            except UnavailableError as error:
                turn.set_exception(error)
                continue
            if replica is not None:
                replica.in_flight += 1
                turn.set_result(replica)
            elif not exclude:  # then there is no room for anybody
                return

    def has_ready(self, exclude: Collection[Replica] = ()) -> bool:
        return any(r.state is State.READY and r not in exclude for r in self.replicas)

    def _pick(self, exclude: Collection[Replica]) -> Replica | None:
        ready = [r for r in self.replicas if r.state is State.READY and r not in exclude]
        if not ready:
            raise self._unavailable()
        with_room = [r for r in ready if r.in_flight < r.max_in_flight]
        return self._policy.pick(with_room) if with_room else None

    async def _wait(self, exclude: Collection[Replica]) -> Replica:
        if len(self._waiting) >= self._max_queued:
            raise QueueFullError(
                f"model {self.model!r} has {len(self._waiting)} requests waiting already "
                f"(server.max_queued is {self._max_queued})",
                retry_after_s=_RETRY_AFTER_S,
            )
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                return await self._in_line(exclude)
        except TimeoutError:
            raise UnavailableError(
                f"model {self.model!r} was busy for {self._queue_timeout_s:g} s "
                "(server.queue_timeout)",
                retry_after_s=_RETRY_AFTER_S,
            ) from None

    async def _in_line(self, exclude: Collection[Replica]) -> Replica:
        """Stays in line until `wake` hands it a replica, which is then counted already."""
        turn: asyncio.Future[Replica] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = exclude
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._free(turn.result())  # it was handed one, and left before it knew
            raise
        finally:
            del self._waiting[turn]

    def _free(self, replica: Replica) -> None:
        replica.in_flight -= 1
        self.wake()

    def _unavailable(self) -> UnavailableError:
        told = "; ".join(sorted({_in_words(replica) for replica in self.replicas}))
        code = next((r.error_code for r in self.replicas if r.error_code), None)
        error = UnavailableError(
            f"model {self.model!r} has no ready replica: {told}", retry_after_s=_RETRY_AFTER_S
        )
        if code:
            error.code = code  # type: ignore[misc]  # the cause tells more than "unavailable"
        return error


def _in_words(replica: Replica) -> str:
    detail = replica.error or replica.phase
    return f"{replica.state}{f' ({detail})' if detail else ''}"
