"""How an ensemble's members are asked: each by the product's own way, and as itself alone. No
fallback stands in for a member, since it would answer twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from common.errors import BadRequestError, RoundhouseError
from engines.prices import Tokens
from gateway.ensembles.hearing import Hearing, says_something
from gateway.ensembles.inner import Inner, Say
from gateway.ensembles.prices import cost_usd
from gateway.ensembles.several import PartMeter, Sampling, singles
from router.dispatch import Route
from router.ensembles.ask import Answer, Member, Meter, Request, Usage

# The route of a member: `auto` needs the question, and is chosen when it is asked.
Find = Callable[[Member, Request], Awaitable[Route]]
# Takes parts of the answer to the client, and who gives it.
Talk = Callable[[str, list[dict[str, Any]]], Awaitable[None]]


class Asking:
    """An `Ask` (router/ensembles/ask.py) for one request of a client."""

    def __init__(
        self, inner: Inner, find: Find, sampling: Sampling, say: Talk | None = None
    ) -> None:
        self.departed_at = 0.0  # the first member was asked then
        self._inner = inner
        self._find = find
        self._sampling = sampling
        self._say = say

    async def __call__(self, member: Member, request: Request, meter: Meter) -> Answer:
        route = await self._find(member, request)
        meter.model = route.lane.model
        self.departed_at = self.departed_at or time.perf_counter()
        if not self._sampling.in_one(route.lane.model, request):
            return await self._each(route, request, meter)
        try:
            answer = await self._one(route, request, meter)
        except BadRequestError:
            if request.samples == 1:
                raise
            self._sampling.refused(route.lane.model, request.samples)
            return await self._each(route, request, meter)
        missing = request.samples - len(answer.choices)
        if missing <= 0:
            return answer
        rest = await self._each(route, request, meter, len(answer.choices))
        return _together([answer, rest])

    async def _one(self, route: Route, request: Request, meter: Meter) -> Answer:
        hearing = Hearing(meter, request.samples)
        body = request.body(route.lane.model, stream=True)
        say = self._said(meter, route.lane.model) if meter.final and request.samples == 1 else None
        exchange = await self._inner.call(route, body, hearing, say)
        usage = hearing.usage or Usage(request.prompt_tokens, meter.output_tokens)
        cost = exchange.cost_usd
        if cost is None:
            cost = cost_usd(route.lane, Tokens(usage.prompt_tokens, usage.output_tokens))
        return Answer(hearing.choices(), usage, route.lane.model, exchange.replica.id, cost)

    def _said(self, meter: Meter, model: str) -> Say | None:
        """Pieces go to the client; once they have, nothing else can be the answer."""
        say = self._say
        if say is None:
            return None

        held: list[dict[str, Any]] = []

        async def told(pieces: list[dict[str, Any]]) -> None:
            held.extend(pieces)
            if meter.said or any(says_something(piece.get("delta") or {}) for piece in held):
                meter.said = True
                going, held[:] = [*held], []
                await say(model, going)

        return told

    async def _each(self, route: Route, request: Request, meter: Meter, begin: int = 0) -> Answer:
        """Raises the first one's error when all have failed; those that have not are enough."""
        answers: list[Answer] = []
        failures: list[RoundhouseError] = []

        async def ask(index: int, single: Request) -> None:
            try:
                answer = await self._one(route, single, PartMeter(meter, index))
            except RoundhouseError as error:
                failures.append(error)
                return
            numbered = tuple(replace(choice, index=index) for choice in answer.choices[:1])
            answers.append(replace(answer, choices=numbered))

        async with asyncio.TaskGroup() as group:
            for index, single in enumerate(singles(request, begin), start=begin):
                group.create_task(ask(index, single))
        if not answers:
            raise failures[0]
        return _together(answers)


def _together(answers: list[Answer]) -> Answer:
    usages = [answer.usage for answer in answers if answer.usage]
    costs = [answer.cost_usd for answer in answers]
    known = [cost for cost in costs if cost is not None]
    return replace(
        answers[0],
        choices=tuple(choice for answer in answers for choice in answer.choices),
        usage=Usage(
            sum(usage.prompt_tokens for usage in usages),
            sum(usage.output_tokens for usage in usages),
        ),
        cost_usd=sum(known) if len(known) == len(costs) else None,
    )
