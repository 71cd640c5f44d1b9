"""When a streamed request's first byte is late, another replica gets the same request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from common.routing_config import HedgeConfig
from gateway.answer import Answer, open_answer
from gateway.exchange import Exchange
from gateway.metrics import Metrics
from gateway.race import Race
from gateway.upstream import Pool
from router.breaker import Verdict
from router.budget import Budget
from router.quantile import RecentQuantile
from router.replicas import Lane, Replica

# A second copy of these does no harm but its cost; an engine may store those of /v1/responses.
_ROUTES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages"})
_WINDOW_S = 60.0  # long, so that a share of little traffic still is something


@dataclass(slots=True)
class _Recent:
    """What is known of one model's traffic."""

    budget: Budget
    first_byte_s: RecentQuantile


class Hedge:
    def __init__(self, config: HedgeConfig, pool: Pool, metrics: Metrics) -> None:
        self._config = config
        self._pool = pool
        self._metrics = metrics
        self._models: dict[str, _Recent] = {}

    def covers(self, exchange: Exchange) -> bool:
        """Only streams: the first byte of a whole answer is its last, and late by nature."""
        return self._config.enabled and exchange.streamed and exchange.route in _ROUTES

    def age(self, elapsed_s: float) -> None:
        for recent in self._models.values():
            recent.budget.age(elapsed_s)

    async def open(self, exchange: Exchange, lane: Lane, tried: list[Replica]) -> Answer:
        """Like `open_answer` of the last in `tried`, to which the second replica is added."""
        recent = self._recent(lane.model)
        recent.budget.count()
        late_s = recent.first_byte_s.value()
        if late_s is None:
            answer = await open_answer(self._pool, exchange, tried[-1])
        else:
            wait_s = max(late_s, self._config.min_wait_s)
            answer = await self._race(exchange, lane, tried, recent.budget, wait_s)
        recent.first_byte_s.add(time.perf_counter() - exchange.departed_at)
        return answer

    async def _race(
        self, exchange: Exchange, lane: Lane, tried: list[Replica], budget: Budget, wait_s: float
    ) -> Answer:
        first, second_at = tried[-1], 0.0

        def find_second() -> Replica | None:
            nonlocal second_at
            if not lane.can_serve(tried) or not budget.take():
                return None
            second = lane.try_acquire(tried, exchange.call)
            if second is not None:
                second_at = lane.clock()
                tried.append(second)
                exchange.attempts += 1
            return second

        def settle(loser: Replica, verdict: Verdict) -> None:
            asked_at = exchange.departed_at if loser is first else second_at
            lane.release(loser, exchange.call, verdict, asked_at)

        opening = partial(open_answer, self._pool, exchange)
        race = Race(opening, partial(Answer.close, pool=self._pool), settle, first)
        try:
            return await race.run(wait_s, find_second)
        finally:
            exchange.replica = race.leader
            exchange.asked_at = exchange.departed_at if race.leader is first else second_at
            if race.second is not None:
                self._metrics.hedged(lane.model, "first" if race.leader is first else "second")

    def _recent(self, model: str) -> _Recent:
        recent = self._models.get(model)
        if recent is None:
            budget = Budget(self._config.budget, 0.0, _WINDOW_S)
            recent = self._models[model] = _Recent(budget, RecentQuantile(self._config.quantile))
        return recent
