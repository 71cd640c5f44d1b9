"""The hot path: a request's bytes to a replica, the replica's bytes back, untouched.

Before the answer's first byte a failure moves the request to another replica; after it the client
gets an error event. Written for speed where it is run once a chunk, and for clarity elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from common.errors import (
    EngineConnectError,
    EngineDeadError,
    EngineDisconnectError,
    EngineError,
    EngineTimeoutError,
)
from gateway.events import EVENT_ENDS, error_event, failure_in, whole_events
from gateway.exchange import Exchange, is_event_stream, request_head, returned
from gateway.metrics import Metrics
from gateway.upstream import Connection, Origin, Pool, RawHeaders
from router.replicas import Lane, Replica

_SWEEP_PERIOD_S = 0.1
_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_origin = lru_cache(1024)(Origin.of)


@dataclass(slots=True)
class _Refusal:
    """An engine's own error answer, kept in case nobody else does better."""

    code: None
    status: int
    headers: RawHeaders
    body: bytes


class Forwarder:
    """Owns the connections to the engines, and the one clock that ends silent exchanges."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        max_retries: int,
        first_token_timeout_s: float,
        stall_timeout_s: float,
    ) -> None:
        self._metrics = metrics
        self._max_retries = max_retries
        self._first_token_timeout_s = first_token_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._open: set[Exchange] = set()
        self._idle = asyncio.Event()
        self._pool = Pool()
        self._sweeper = asyncio.create_task(self._sweep())

    def close(self) -> None:
        self._sweeper.cancel()
        self._pool.close()

    async def idle(self, timeout_s: float) -> bool:
        """Waits until nothing is in flight; False when time ran out first."""
        self._idle.clear()
        try:
            async with asyncio.timeout(timeout_s):
                while self._open:
                    await self._idle.wait()
                    self._idle.clear()
        except TimeoutError:
            return False
        return True

    async def run(self, exchange: Exchange, lane: Lane) -> None:
        """Answers one request. Raises an error of the tree when nothing has been sent yet."""
        self._open.add(exchange)
        try:
            await self._attempts(exchange, lane)
        except asyncio.CancelledError:
            if not exchange.hung_up:
                raise
            exchange.task.uncancel()
            self._metrics.hung_up(lane.model)
        finally:
            self._open.discard(exchange)
            if exchange.watch:
                exchange.watch.cancel()
            if not self._open:
                self._idle.set()
            self._record(exchange, lane.model)

    async def _attempts(self, exchange: Exchange, lane: Lane) -> None:
        tried: list[Replica] = []
        exclude: list[Replica] = []
        while True:
            replica = await lane.acquire(exclude)
            tried.append(replica)
            exchange.attempts += 1
            outcome = await self._attempt(exchange, lane, replica)
            if outcome is None:
                return
            remaining = self._next_exclusion(outcome, tried, lane)
            if remaining is None:
                break
            exclude = remaining
            self._metrics.retried(lane.model, outcome.code or str(outcome.status))
        if isinstance(outcome, EngineError):
            raise outcome
        if outcome.status == 500:
            raise EngineError(f"replica {replica.id} failed: {_message_in(outcome.body)}")
        await self._send_whole(exchange, replica, outcome.status, outcome.headers, outcome.body)

    def _next_exclusion(
        self, outcome: EngineError | _Refusal, tried: list[Replica], lane: Lane
    ) -> list[Replica] | None:
        """Whom the next attempt must not go to; None when there is nothing left to try."""
        if len(tried) > self._max_retries:
            return None
        if lane.has_ready(exclude=tried):
            return tried
        last = tried[-1]
        # A kept-alive connection may be closed by its other end just as it is used: once more.
        if isinstance(outcome, EngineDisconnectError) and tried.count(last) == 1:
            others = [replica for replica in tried if replica is not last]
            return others if lane.has_ready(exclude=others) else None
        return None

    async def _attempt(
        self, exchange: Exchange, lane: Lane, replica: Replica
    ) -> EngineError | _Refusal | None:
        """One replica's try. None when it answered, for better or worse; else why it did not."""
        exchange.departed_at = exchange.heard_at = time.perf_counter()
        try:
            return await self._exchange(exchange, replica)
        except asyncio.CancelledError:
            if not exchange.expired or exchange.hung_up:
                raise
            exchange.expired = False
            exchange.task.uncancel()
            failure: EngineError = self._late(exchange, replica)
        except EngineConnectError as error:
            replica.lost()
            failure = EngineConnectError(f"replica {replica.id} cannot be reached: {error.message}")
        except EngineDisconnectError as error:
            failure = EngineDisconnectError(
                f"replica {replica.id} broke off its answer: {error.message}"
            )
        except EngineError as error:
            failure = error
        finally:
            exchange.heard_at = 0.0
            lane.release(replica)
        if not exchange.begun:
            return failure
        await self._break_off(exchange, replica, failure)
        return None

    async def _exchange(self, exchange: Exchange, replica: Replica) -> _Refusal | None:
        if replica.url is None:
            raise EngineConnectError("it has just gone")
        origin = _origin(replica.url)
        answer = await self._pool.take(origin)
        try:
            answer.send(request_head(exchange, origin, replica.token), exchange.body)
            await answer.head()
            headers = returned(answer.headers)
            if answer.status == 200 and is_event_stream(headers):
                await self._stream(exchange, replica, answer, headers)
                return None
            body = await answer.read_all()
        finally:
            self._pool.give_back(origin, answer)
        if answer.status in _RETRIED_STATUSES:
            return _Refusal(None, answer.status, headers, body)
        await self._send_whole(exchange, replica, answer.status, headers, body)
        return None

    async def _stream(
        self, exchange: Exchange, replica: Replica, answer: Connection, headers: RawHeaders
    ) -> None:
        """The events as they come. The first one decides whether the answer has begun."""
        send, read, clock = exchange.send, answer.read, time.perf_counter
        chunk, held = await read(), b""
        if not chunk:
            raise EngineDisconnectError("its answer ended without a byte")
        failure = failure_in(chunk)
        if failure is not None:
            raise EngineDeadError(f"replica {replica.id} failed: {failure}")
        await self._begin(exchange, replica, answer.status, headers)
        while chunk:
            if held or not chunk.endswith(EVENT_ENDS):
                chunk, held = whole_events(held + chunk)
            exchange.heard_at = 0.0  # a client that does not read is no silent engine
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            exchange.heard_at = clock()
            chunk = await read()
        await send({"type": "http.response.body", "body": held, "more_body": False})

    async def _send_whole(
        self, exchange: Exchange, replica: Replica, status: int, headers: RawHeaders, body: bytes
    ) -> None:
        headers.append((b"content-length", str(len(body)).encode()))
        await self._begin(exchange, replica, status, headers)
        await exchange.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _begin(
        self, exchange: Exchange, replica: Replica, status: int, headers: RawHeaders
    ) -> None:
        exchange.begun, exchange.status, exchange.heard_at = True, status, 0.0
        exchange.first_byte_at = time.perf_counter()
        overhead_ms = (exchange.departed_at - exchange.arrived_at) * 1000
        headers += (
            (b"x-request-id", exchange.request_id.encode("latin-1")),
            (b"x-roundhouse-model", replica.model.encode()),
            (b"x-roundhouse-route", exchange.reason.encode()),
            (b"x-roundhouse-replica", replica.id.encode()),
            (b"x-roundhouse-attempts", b"%d" % exchange.attempts),
            (b"x-roundhouse-overhead-ms", b"%.2f" % overhead_ms),
        )
        await exchange.send({"type": "http.response.start", "status": status, "headers": headers})

    async def _break_off(self, exchange: Exchange, replica: Replica, failure: EngineError) -> None:
        """The stream cannot be made whole any more: say so, in the stream's own form."""
        self._metrics.broke(replica.model)
        body = error_event(failure, exchange.path)
        await exchange.send({"type": "http.response.body", "body": body, "more_body": False})

    def _late(self, exchange: Exchange, replica: Replica) -> EngineTimeoutError:
        if exchange.begun:
            return EngineTimeoutError(
                f"replica {replica.id} was silent for {self._stall_timeout_s:g} s "
                "within its answer (defaults.stall_timeout)"
            )
        return EngineTimeoutError(
            f"replica {replica.id} sent no first byte within {self._first_token_timeout_s:g} s "
            "(defaults.first_token_timeout)"
        )

    async def _sweep(self) -> None:
        """Ends exchanges whose engine is silent for too long; watches the clients of long ones.

        Most requests to a fast engine are over before they would need either.
        """
        while True:
            await asyncio.sleep(_SWEEP_PERIOD_S)
            now = time.perf_counter()
            for exchange in self._open:
                exchange.watch = exchange.watch or asyncio.create_task(_watch_client(exchange))
                limit = self._stall_timeout_s if exchange.begun else self._first_token_timeout_s
                if exchange.heard_at and now - exchange.heard_at > limit and not exchange.expired:
                    exchange.expired = True
                    exchange.task.cancel()

    def _record(self, exchange: Exchange, model: str) -> None:
        if exchange.begun:
            self._metrics.answered(model, exchange.route, exchange.status)
            self._metrics.timed(
                model,
                exchange.departed_at - exchange.arrived_at,
                exchange.first_byte_at - exchange.arrived_at,
                time.perf_counter() - exchange.arrived_at,
            )


async def _watch_client(exchange: Exchange) -> None:
    """A client that hangs up frees the engine at once."""
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
    exchange.hung_up = True
    exchange.task.cancel()


def _message_in(body: bytes) -> str:
    """The words of an engine's error answer, whatever its form."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "no reason given"
