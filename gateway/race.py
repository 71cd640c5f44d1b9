"""The same request at two replicas: the first answer wins, and the other is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from common.errors import EngineError
from gateway.answer import Answer
from gateway.failure import refusal, verdict_of
from router.breaker import Verdict
from router.replicas import Replica


@dataclass
class Race:
    """`settle` is told of the loser. Of `leader`, whose answer or failure is the outcome, the
    caller takes care; it is the first replica but where the second one answered."""

    open: Callable[[Replica], Coroutine[Any, Any, Answer]]
    close: Callable[[Answer], None]
    settle: Callable[[Replica, Verdict], None]
    leader: Replica
    second: Replica | None = None
    _runners: dict[asyncio.Task[Answer], Replica] = field(default_factory=dict)

    async def run(self, wait_s: float, find_second: Callable[[], Replica | None]) -> Answer:
        """Raises the first replica's error when nobody answers."""
        winner = first = self._start(self.leader)
        try:
            await asyncio.wait({first}, timeout=wait_s)
            if not first.done():
                self.second = find_second()
            if self.second is not None:
                self._start(self.second)
                winner = await self._winner() or first
            return await winner
        finally:
            self.leader = self._runners.pop(winner)
            if not winner.done():  # this request itself is cancelled
                await _stopped(winner)
            await self._give_up_the_rest()

    def _start(self, replica: Replica) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.open(replica))
        self._runners[task] = replica
        return task

    async def _winner(self) -> asyncio.Task[Answer] | None:
        """The first to give an answer that is none of failure; None when both fail."""
        pending = set(self._runners)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in self._runners:
                if task in done and _verdict(task) is Verdict.SUCCESS:
                    return task
        return None

    async def _give_up_the_rest(self) -> None:
        for task, replica in self._runners.items():
            verdict = _verdict(task)
            ended = await _stopped(task)
            if isinstance(ended, Answer):
                self.close(ended)
            self.settle(replica, Verdict.FAILURE if verdict is Verdict.FAILURE else Verdict.NEITHER)


async def _stopped(task: asyncio.Task[Answer]) -> Answer | BaseException:
    """Closes its connection, so that the engine stops."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    return ended


def _verdict(task: asyncio.Task[Answer]) -> Verdict:
    if not task.done() or task.cancelled():
        return Verdict.NEITHER
    if (error := task.exception()) is not None:
        return Verdict.FAILURE if isinstance(error, EngineError) else Verdict.NEITHER
    return verdict_of(refusal(task.result()))
