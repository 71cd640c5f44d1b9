"""Which model a request to `auto` gets: the rules first, then the second stage, if there is one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from common.quality_config import SecondStageConfig
from gateway.choosing import marks_of
from gateway.exchange import Receive
from gateway.keys import Headers
from gateway.metrics import Metrics
from gateway.second_stage import SecondStage
from router.auto import Decision, Wish, wish_of
from router.classify import Conversation, Verdict, read
from router.conversations import Marks
from router.dispatch import Dispatcher

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client hung up before a model was chosen; there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to `auto`, as far as the choice of a model goes by it."""

    said: Conversation | None
    wish: Wish
    marks: Marks

    @classmethod
    def of(cls, name: str, routing: Any, path: str, headers: Headers, body: bytes) -> Asked:
        """Raises BadRequestError for a wish that there is none of."""
        return cls(read(path, body), wish_of(name, routing), marks_of(headers, body))


class Chooser:
    """The rules first; then the second stage, where there is one and they are not sure."""

    def __init__(
        self, dispatcher: Dispatcher, second_stage: SecondStageConfig | None, metrics: Metrics
    ) -> None:
        self._dispatcher = dispatcher
        self._second_stage = None
        if second_stage:
            lane = dispatcher.lanes[second_stage.model]
            self._second_stage = SecondStage(second_stage, lane, metrics)
        self._asking = 0  # requests that wait for the second stage
        self._idle = asyncio.Event()

    def close(self) -> None:
        if self._second_stage:
            self._second_stage.close()

    async def idle(self, timeout_s: float) -> bool:
        """Waits until no request is at the second stage; False when time ran out first."""
        self._idle.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._asking:
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def decide(self, asked: Asked, receive: Receive, request_id: str) -> Decision:
        """Raises UnavailableError when no model can, ClientGoneError when nobody waits."""
        now = time.monotonic()
        verdict, second = self._dispatcher.classify(asked.said, asked.wish), None
        stage = self._stage_for(asked, verdict, now)
        if stage and asked.said:
            question = stage.ask(asked.said, verdict, request_id)
            second = await self._counted(while_connected(receive, question))
        return self._dispatcher.decide(
            asked.said,
            asked.wish,
            marks=asked.marks,
            now=now,
            verdict=second or verdict,
            by_second_stage=second is not None,
        )

    async def _counted(self, work: Coroutine[Any, Any, T]) -> T:
        self._asking += 1
        try:
            return await work
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle.set()

    def _stage_for(self, asked: Asked, verdict: Verdict, now: float) -> SecondStage | None:
        """The second stage where it is to be asked: not for a task that the request names, nor
        where the conversation stays on its model anyway."""
        stage = self._second_stage
        if stage is None or asked.said is None or asked.wish.task or not stage.is_for(verdict):
            return None
        return None if self._dispatcher.stays(verdict, asked.marks, now) else stage

    def explain(self, asked: Asked) -> tuple[Decision, str | None]:
        """What would be chosen, and the model that the second stage would ask. Asks nobody."""
        now = time.monotonic()
        decision = self._dispatcher.decide(
            asked.said, asked.wish, marks=asked.marks, now=now, only_ask=True
        )
        stage = self._stage_for(asked, decision.verdict, now)
        return decision, stage.model if stage else None


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Raises ClientGoneError, with the work ended, when the client hangs up."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
