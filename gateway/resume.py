"""A streamed answer that breaks after its first byte, gone on with by another replica.

What passes is read here, which costs a few microseconds an event; so only where it is switched on
and could help. The seam is marked by a comment event, which clients skip.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator

from common.errors import (
    EngineDeadError,
    EngineDisconnectError,
    EngineError,
    QueueFullError,
    RoundhouseError,
    UnavailableError,
)
from common.routing_config import ResumeConfig
from gateway.answer import Answer
from gateway.events import failure_in, whole_events
from gateway.exchange import Exchange
from gateway.failure import Failure
from gateway.metrics import Metrics
from gateway.relay import begin
from router.budget import Budget
from router.replicas import Lane, Replica
from router.resume import PATHS, is_continuable
from router.retry import is_budgeted
from router.transcript import Transcript

_log = logging.getLogger(__name__)
_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)
_LAST_EVENT = b"data: [DONE]\n\n"


class Resume:
    def __init__(self, config: ResumeConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics

    def covers(self, exchange: Exchange, lane: Lane, answer: Answer) -> bool:
        """Whether `pass_on` here is to be used; the transcript is begun then."""
        if exchange.transcript is not None:
            return True
        if not self._config.enabled or answer.stream is None or len(lane.replicas) == 1:
            return False
        if exchange.route not in PATHS or not is_continuable(exchange.body, exchange.path):
            return False
        exchange.transcript = Transcript(exchange.path, exchange.body)
        return True

    async def pass_on(self, exchange: Exchange, answer: Answer) -> None:
        """All of a stream, or its rest. Raises EngineError when it breaks."""
        transcript = exchange.transcript
        assert transcript is not None
        if not exchange.begun:
            await begin(exchange, answer)
        else:
            await _mark_seam(exchange, answer.replica, len(transcript.said))
        await _send_stream(exchange, answer, transcript)

    async def next_replica(
        self, exchange: Exchange, lane: Lane, failure: RoundhouseError, budget: Budget
    ) -> Replica | None:
        """Who is asked for the rest, with the body that asks; None when nobody can be."""
        transcript = exchange.transcript
        if transcript is None:
            return None
        transcript.broken.append(exchange.replica)
        replica = await self._other(exchange, lane, failure, budget, transcript)
        if replica is None:
            self._metrics.resumed(lane.model, "nobody")
        return replica

    async def complete(self, exchange: Exchange) -> bool:
        """Ends an answer of which nothing but its end was missing."""
        transcript = exchange.transcript
        if transcript is None or not (transcript.finished or transcript.done):
            return False
        last = b"" if transcript.done else _LAST_EVENT
        await exchange.send({"type": "http.response.body", "body": last, "more_body": False})
        return True

    async def _other(
        self,
        exchange: Exchange,
        lane: Lane,
        failure: RoundhouseError,
        budget: Budget,
        transcript: Transcript,
    ) -> Replica | None:
        if len(transcript.broken) > self._config.max or not lane.can_serve(transcript.broken):
            return None
        rest = transcript.rest()
        if rest is None or (is_budgeted(failure) and not budget.take()):
            return None
        exchange.body = rest.body
        try:
            return await lane.acquire(transcript.broken, exchange.call)
        except (UnavailableError, QueueFullError) as error:
            _log.warning("request %s: not resumed: %s", exchange.request_id, error)
            return None


def no_rest(exchange: Exchange, answer: Answer) -> Failure | None:
    """The failure of an engine that was asked to go on and answers otherwise than by a stream."""
    if not exchange.begun or answer.stream is not None:
        return None
    told = f"replica {answer.replica.id} did not go on with the answer: it said {answer.status}"
    return Failure(EngineError(told), answer)


async def _mark_seam(exchange: Exchange, replica: Replica, n_chars: int) -> None:
    told = f"resumed on replica {replica.id} after {n_chars} characters"
    _log.warning("request %s: attempt %d: %s", exchange.request_id, exchange.attempts, told)
    comment = f": {told}\n\n".encode()
    exchange.heard_at = 0.0  # a client that does not read is no silent engine
    await exchange.send({"type": "http.response.body", "body": comment, "more_body": True})


async def _send_stream(exchange: Exchange, answer: Answer, transcript: Transcript) -> None:
    assert answer.stream is not None
    send, read, clock = exchange.send, answer.stream.read, time.perf_counter
    chunk, held = answer.body, b""
    while chunk:
        whole, held = whole_events(held + chunk)
        passed, failure = _passed(transcript, whole)
        exchange.heard_at = 0.0
        if passed:
            await send({"type": "http.response.body", "body": passed, "more_body": True})
        if failure is not None:
            raise EngineDeadError(f"replica {answer.replica.id} failed: {failure}")
        exchange.heard_at = clock()
        chunk = await read()
    if not transcript.finished and not transcript.done:
        raise EngineDisconnectError("it ended before its last event")
    await send({"type": "http.response.body", "body": held, "more_body": False})


def _passed(transcript: Transcript, whole: bytes) -> tuple[bytes, str | None]:
    """What the client gets of these events, up to one in which the engine speaks of its failure."""
    passed: list[bytes] = []
    for event in _events(whole):
        failure = failure_in(event)
        if failure is not None:
            return b"".join(passed), failure
        passed.append(transcript.add(event))
    return b"".join(passed), None


def _events(whole: bytes) -> Iterator[bytes]:
    end = 0
    for found in _EVENT.finditer(whole):
        end = found.end()
        yield found[0]
    if end < len(whole):
        yield whole[end:]  # a piece of one that is too long to be held back
