"""The hot path: a request's bytes to a replica, the replica's bytes back, untouched.

Before the answer's first byte a failure moves the request to another replica, then to another
model; after it another replica goes on, where that is switched on and can be (resume.py), or the
client gets an error event. Written for speed where it is run once a chunk (relay.py), and for
clarity elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from common.errors import (
    DeadlineError,
    EngineConnectError,
    EngineError,
    EngineLoadError,
    QueueFullError,
    RoundhouseError,
    UnavailableError,
)
from common.routing_config import FallbackConfig, HedgeConfig, ResumeConfig, RetryConfig
from engines.manager.lease import Lease
from gateway.answer import open_answer
from gateway.exchange import Exchange
from gateway.failure import Failure, late, of_replica, refusal, rest_s, verdict_of
from gateway.hedge import Hedge
from gateway.metrics import Metrics
from gateway.relay import break_off, pass_on, send_whole
from gateway.resume import Resume, no_rest
from gateway.sweeper import Sweeper
from gateway.upstream import Pool
from router.breaker import Verdict
from router.budget import Budget
from router.fallback import next_lanes, with_model
from router.replicas import Lane, Replica
from router.retry import Again, again, is_budgeted

_log = logging.getLogger(__name__)


class Forwarder:
    """Owns the connections to the engines, and the one clock that ends silent exchanges."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        first_token_timeout_s: float,
        stall_timeout_s: float,
        load_wait_s: float = 600.0,
        retry: RetryConfig | None = None,
        fallback: FallbackConfig | None = None,
        hedge: HedgeConfig | None = None,
        resume: ResumeConfig | None = None,
    ) -> None:
        self._metrics = metrics
        self._first_token_timeout_s = first_token_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._load_wait_s = load_wait_s
        self._retry = retry or RetryConfig()
        self._fallback = fallback or FallbackConfig()
        self._budgets: dict[str, Budget] = {}
        self._open: set[Exchange] = set()
        self._idle = asyncio.Event()
        self._pool = Pool()
        self._hedge = Hedge(hedge or HedgeConfig(), self._pool, metrics)
        self._resume = Resume(resume or ResumeConfig(), metrics)
        sweeper = Sweeper(self._open, first_token_timeout_s, stall_timeout_s, self._age)
        self._sweeping = asyncio.create_task(sweeper.run())

    def change(self, retry: RetryConfig, fallback: FallbackConfig) -> None:
        """For what is tried from now on."""
        if retry != self._retry:
            self._budgets.clear()
        self._retry, self._fallback = retry, fallback

    def close(self) -> None:
        self._sweeping.cancel()
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

    async def run(self, exchange: Exchange, lane: Lane, fallbacks: Sequence[Lane] = ()) -> None:
        """Answers one request, by `lane`'s model or by one of `fallbacks`, in their order.

        Raises only when nothing has been sent yet, and then an error of the tree.
        """
        if self._retry.deadline_s is not None:
            latest = exchange.arrived_at + self._retry.deadline_s
            exchange.deadline_at = min(exchange.deadline_at, latest)
        exchange.model = lane.model
        self._open.add(exchange)
        try:
            await self._in_time(exchange, lane, fallbacks)
        except asyncio.CancelledError:
            if not exchange.hung_up:
                raise
            exchange.task.uncancel()
            self._metrics.hung_up(exchange.model)
        except RoundhouseError:
            raise
        except Exception:
            if not exchange.begun:
                raise
            # The server closes a connection whose answer has no end, so that the client notices.
            _log.exception("request %s: a fault of the router's own", exchange.request_id)
        finally:
            self._open.discard(exchange)
            if exchange.watch:
                exchange.watch.cancel()
            if not self._open:
                self._idle.set()
            self._record(exchange)

    async def _in_time(self, exchange: Exchange, lane: Lane, fallbacks: Sequence[Lane]) -> None:
        try:
            await self._by_any_model(exchange, lane, fallbacks)
        except asyncio.CancelledError:
            if not exchange.overdue or exchange.given_up:
                raise
            exchange.task.uncancel()
            late = DeadlineError(
                f"the request's time was over after {time.perf_counter() - exchange.arrived_at:.1f}"
                f" s, in attempt {exchange.attempts} (router.retry.deadline)"
            )
            if not exchange.begun:
                _log.warning("request %s: %s", exchange.request_id, late)
                raise late from None
            await self._break_off(exchange, late)

    async def _by_any_model(
        self, exchange: Exchange, lane: Lane, fallbacks: Sequence[Lane]
    ) -> None:
        """When all fail, the first model's failure is told: it is the one that was asked for."""
        told = failure = await self._by_model(exchange, lane, bool(fallbacks))
        while failure is not None:
            fallbacks = next_lanes(lane, failure.error, fallbacks, self._fallback.on)
            body = with_model(exchange.body, fallbacks[0].model) if fallbacks else None
            if body is None:
                break
            self._fall_back(exchange, lane, fallbacks[0], failure.error)
            exchange.body = body
            lane, *fallbacks = fallbacks
            failure = await self._by_model(exchange, lane, bool(fallbacks))
        if failure is None:
            return
        assert told is not None
        if told.answer is None or told.answer.status == 500:
            raise told.error
        await send_whole(exchange, told.answer)

    def _fall_back(self, exchange: Exchange, lane: Lane, to: Lane, error: RoundhouseError) -> None:
        trigger = str(error.trigger)
        self._metrics.fell_back(lane.model, to.model, trigger)
        exchange.reason += f"; fallback from {lane.model}: {trigger}"
        _log.warning(
            "request %s: %s instead of %s: %s", exchange.request_id, to.model, lane.model, error
        )

    async def _by_model(self, exchange: Exchange, lane: Lane, has_stand_in: bool) -> Failure | None:
        """Attempts with one model's replicas. None when one answered, for better or worse."""
        exchange.model = lane.model
        try:
            lease = await self._lease(exchange, lane)
        except (UnavailableError, EngineLoadError) as error:
            return Failure(error)
        try:
            return await self._by_replicas(exchange, lane, has_stand_in)
        finally:
            if lease:
                lease.release()

    async def _lease(self, exchange: Exchange, lane: Lane) -> Lease | None:
        """Waits until the model is loaded, which no timeout of an engine's counts."""
        if lane.keeper is None:
            return None
        left_s = exchange.deadline_at - time.perf_counter()
        return await lane.lease(min(left_s, self._load_wait_s), exchange.keep_alive)

    async def _by_replicas(
        self, exchange: Exchange, lane: Lane, has_stand_in: bool
    ) -> Failure | None:
        self._budget(lane.model).count()
        tried: list[Replica] = []
        exclude: Sequence[Replica] = ()
        while True:
            try:
                replica = await lane.acquire(exclude, exchange.call)
            except (UnavailableError, QueueFullError) as error:
                return Failure(error)
            tried.append(replica)
            exchange.attempts += 1
            failure = await self._attempt(exchange, lane, replica, tried)
            if failure is None:
                return None
            if exchange.begun:
                await self._go_on(exchange, lane, failure.error)
                return None
            step = self._again(failure, tried, lane, has_stand_in)
            if step is None:
                return failure
            exclude = step.exclude
            self._metrics.retried(lane.model, failure.reason)
            if step.pause_s:
                await asyncio.sleep(step.pause_s)

    async def _go_on(self, exchange: Exchange, lane: Lane, told: RoundhouseError) -> None:
        """After the first byte: the rest from another replica, else the failure as an event."""
        failure: Failure | None = Failure(told)
        while failure is not None:
            if await self._resume.complete(exchange):
                return
            budget = self._budget(lane.model)
            replica = await self._resume.next_replica(exchange, lane, failure.error, budget)
            if replica is None:
                await self._break_off(exchange, told)
                return
            failure = await self._ask_for_the_rest(exchange, lane, replica)

    async def _ask_for_the_rest(
        self, exchange: Exchange, lane: Lane, replica: Replica
    ) -> Failure | None:
        exchange.attempts += 1
        outcome = "given_up"  # the client has gone, or the deadline has passed
        try:
            failure = await self._attempt(exchange, lane, replica, [replica])
            outcome = "failed" if failure else "completed"
        finally:
            self._metrics.resumed(lane.model, outcome)
        return failure

    def _again(
        self, failure: Failure, tried: Sequence[Replica], lane: Lane, has_stand_in: bool
    ) -> Again | None:
        step = again(
            self._retry,
            failure.error,
            tried,
            lane,
            asked_pause_s=failure.asked_pause_s,
            has_stand_in=has_stand_in,
            roll=random.random(),  # noqa: S311  # jitter, no secret
        )
        if step and step.pause_s and has_stand_in and lane.rests(tried[-1]):
            return None  # another model answers sooner
        if step and is_budgeted(failure.error) and not self._budget(lane.model).take():
            _log.warning("model %s: no retry is left of router.retry.budget", lane.model)
            return None
        return step

    async def _attempt(
        self, exchange: Exchange, lane: Lane, replica: Replica, tried: list[Replica]
    ) -> Failure | None:
        """One replica's try. None when it answered, for better or worse; else why it did not."""
        exchange.replica = replica  # a hedge may put another one in its place
        exchange.asked_at = exchange.heard_at = time.perf_counter()
        if not exchange.begun:
            exchange.departed_at = exchange.asked_at
        verdict = Verdict.NEITHER
        try:
            refused = await self._exchange(exchange, lane, tried)
            verdict = verdict_of(refused)
            if rest := rest_s(refused, exchange.replica):
                lane.rest(exchange.replica, rest)
            return self._failed(exchange, refused) if refused else None
        except asyncio.CancelledError:
            if not exchange.expired or exchange.given_up:
                raise
            exchange.expired = False
            exchange.task.uncancel()
            failure: EngineError = late(
                exchange, self._first_token_timeout_s, self._stall_timeout_s
            )
            verdict = Verdict.FAILURE
        except EngineError as error:
            if isinstance(error, EngineConnectError):
                exchange.replica.lost()
            failure = of_replica(error, exchange.replica)
            verdict = Verdict.FAILURE
        finally:
            exchange.heard_at = 0.0
            lane.release(exchange.replica, exchange.call, verdict, exchange.asked_at)
        return self._failed(exchange, Failure(failure))

    async def _exchange(
        self, exchange: Exchange, lane: Lane, tried: list[Replica]
    ) -> Failure | None:
        if not exchange.begun and self._hedge.covers(exchange):
            answer = await self._hedge.open(exchange, lane, tried)
        else:
            answer = await open_answer(self._pool, exchange, tried[-1])
        try:
            refused = refusal(answer) or no_rest(exchange, answer)
            if refused is None:
                covered = self._resume.covers(exchange, lane, answer)
                await (self._resume.pass_on if covered else pass_on)(exchange, answer)
            return refused
        finally:
            answer.close(self._pool)

    def _failed(self, exchange: Exchange, failure: Failure) -> Failure:
        _log.warning(
            "request %s: attempt %d: %s", exchange.request_id, exchange.attempts, failure.error
        )
        return failure

    async def _break_off(self, exchange: Exchange, failure: RoundhouseError) -> None:
        self._metrics.broke(exchange.model)
        _log.warning("request %s: broken off: %s", exchange.request_id, failure)
        await break_off(exchange, failure)

    def _age(self, elapsed_s: float) -> None:
        self._hedge.age(elapsed_s)
        for budget in self._budgets.values():
            budget.age(elapsed_s)

    def _budget(self, model: str) -> Budget:
        budget = self._budgets.get(model)
        if budget is None:
            retry = self._retry
            budget = Budget(retry.budget, retry.budget_min, retry.budget_window_s)
            self._budgets[model] = budget
        return budget

    def _record(self, exchange: Exchange) -> None:
        if exchange.cost_usd is not None:
            self._metrics.spent(exchange.model, exchange.cost_usd)
        if exchange.begun:
            self._metrics.answered(exchange.model, exchange.route, exchange.status)
            self._metrics.timed(
                exchange.model,
                exchange.departed_at - exchange.arrived_at,
                exchange.first_byte_at - exchange.arrived_at,
                time.perf_counter() - exchange.arrived_at,
            )
