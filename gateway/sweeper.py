"""The one clock over all requests in flight: ends those that are silent or overdue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.exchange import Exchange

_PERIOD_S = 0.1


@dataclass(frozen=True)
class Sweeper:
    """Also watches the clients of the requests that last, since most to a fast engine are over
    before they would need it. `on_tick` is told how much time has passed."""

    exchanges: Iterable[Exchange]
    first_token_timeout_s: float
    stall_timeout_s: float
    on_tick: Callable[[float], None]

    async def run(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(_PERIOD_S)
            now = time.perf_counter()
            elapsed_s, before = now - before, now
            self.on_tick(elapsed_s)
            for exchange in self.exchanges:
                exchange.watch = exchange.watch or asyncio.create_task(_watch_client(exchange))
            # After a hold-up of our own, what engines have sent meanwhile is still to be read.
            if elapsed_s < 2 * _PERIOD_S:
                self._check(now)

    def _check(self, now: float) -> None:
        for exchange in self.exchanges:
            if exchange.expired or exchange.overdue:
                continue  # it has been told
            limit_s = self.stall_timeout_s if exchange.begun else self.first_token_timeout_s
            if now > exchange.deadline_at:
                exchange.overdue = True
                exchange.task.cancel()
            elif exchange.heard_at and now - exchange.heard_at > limit_s:
                exchange.expired = True
                exchange.task.cancel()


async def _watch_client(exchange: Exchange) -> None:
    """A client that hangs up frees the engine at once."""
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
    exchange.hung_up = True
    exchange.task.cancel()
