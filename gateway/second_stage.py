"""The second stage as the gateway asks it: one prefill of a model of the house, within a deadline.

It takes a place in that model's lane like any request, so that load and breaker count, and goes to
a replica by the model's own name, never back through `auto`.
"""

from __future__ import annotations

import asyncio
import logging

from common.errors import EngineConnectError, EngineError, RoundhouseError
from common.quality_config import SecondStageConfig
from gateway.answer import Answer
from gateway.failure import refusal, verdict_of
from gateway.metrics import Metrics
from gateway.upstream import Connection, Origin, Pool
from router.breaker import Verdict as Health
from router.call import BYTES_PER_TOKEN, Call
from router.classify import Conversation, Verdict
from router.classify.second_stage import (
    CHAT_PATH,
    SYSTEMONE_PATH,
    chat_body,
    read_answer,
    systemone_body,
)
from router.replicas import Lane, Replica

# What an engine's server says where it has no such route, or none for this model (vLLM: 501).
_NOT_THERE = frozenset({400, 404, 405, 501})
_log = logging.getLogger(__name__)


class SecondStage:
    """Belongs to the gateway's event loop."""

    def __init__(self, config: SecondStageConfig, lane: Lane, metrics: Metrics) -> None:
        self.model = lane.model
        self._config = config
        self._lane = lane
        self._metrics = metrics
        self._pool = Pool()
        self._has_systemone: bool | None = None  # not known before it was asked

    def close(self) -> None:
        self._pool.close()

    def is_for(self, verdict: Verdict) -> bool:
        return verdict.confidence < self._config.below

    async def ask(self, said: Conversation, verdict: Verdict, request_id: str) -> Verdict | None:
        """None when the rules' verdict stands: no answer in time, none at all, or none to use."""
        told, outcome = None, "unsure"
        try:
            async with asyncio.timeout(self._config.deadline_s):
                told = await self._told(said, verdict, request_id)
            outcome = "used" if told else "unsure"
        except TimeoutError:
            outcome = "late"
        except RoundhouseError as error:
            outcome = "failed"
            _log.warning("request %s: second stage: %s", request_id, error)
        self._metrics.asked_second_stage(self.model, outcome)
        return told

    async def _told(self, said: Conversation, verdict: Verdict, request_id: str) -> Verdict | None:
        if self._has_systemone is not False:
            body = systemone_body(self.model, said)
            status, answer = await self._post(SYSTEMONE_PATH, body, request_id)
            if self._has_systemone or status not in _NOT_THERE:
                self._has_systemone = self._has_systemone or status == 200
                return _read(SYSTEMONE_PATH, status, answer, verdict)
            self._has_systemone = False
        status, answer = await self._post(CHAT_PATH, chat_body(self.model, said), request_id)
        return _read(CHAT_PATH, status, answer, verdict)

    async def _post(self, path: str, body: bytes, request_id: str) -> tuple[int, bytes]:
        """Raises RoundhouseError. When cancelled it hangs up, which frees the engine."""
        # A question is no reason to load it; while it is being asked, it stays.
        lease = await self._lane.lease(self._config.deadline_s) if self._lane.has_ready() else None
        try:
            return await self._post_to_ready(path, body, request_id)
        finally:
            if lease:
                lease.release()

    async def _post_to_ready(self, path: str, body: bytes, request_id: str) -> tuple[int, bytes]:
        call = Call(n_tokens=len(body) // BYTES_PER_TOKEN)
        replica = await self._lane.acquire((), call)
        asked_at, health = self._lane.clock(), Health.NEITHER  # to be late is no failure
        try:
            answer = await self._exchange(replica, path, body, request_id)
            health = Health.SUCCESS
            if answer.status not in _NOT_THERE:
                health = verdict_of(refusal(answer))
            return answer.status, answer.body
        except EngineError as error:
            if isinstance(error, EngineConnectError):
                replica.lost()
            health = Health.FAILURE
            raise
        finally:
            self._lane.release(replica, call, health, asked_at)

    async def _exchange(self, replica: Replica, path: str, body: bytes, request_id: str) -> Answer:
        if replica.url is None:
            raise EngineConnectError(f"replica {replica.id} has just gone")
        origin = Origin.of(replica.url)
        connection: Connection = await self._pool.take(origin)
        try:
            connection.send(_head(origin, path, replica.token, request_id, len(body)), body)
            await connection.head()
            whole = await connection.read_all()
            return Answer(replica, connection.status, connection.headers, whole, None, origin)
        finally:
            self._pool.give_back(origin, connection)


def _read(path: str, status: int, answer: bytes, verdict: Verdict) -> Verdict | None:
    if status != 200:
        raise EngineError(f"{path} answers HTTP {status}")
    return read_answer(path, answer, verdict)


def _head(origin: Origin, path: str, token: str, request_id: str, length: int) -> bytes:
    lines = [
        f"POST {origin.prefix}{path} HTTP/1.1",
        f"host: {origin.host_header.decode()}",
        "content-type: application/json",
        f"content-length: {length}",
        f"x-request-id: {request_id}-task",
        *([f"authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")
