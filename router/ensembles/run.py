"""One ensemble under way: the only part that waits. It asks members, keeps budget and deadlines,
and cancels who is no longer needed. What to make of answers, the kinds decide.

Every task belongs to a TaskGroup; when a run is cancelled, all its calls are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from common.ensemble_section import EnsembleSection
from common.errors import DeadlineError
from router.ensembles.ask import Ask, Member, Request
from router.ensembles.budget import Budget
from router.ensembles.calls import Calls
from router.ensembles.panel import Board, Call, Panel, Voice
from router.ensembles.recipe import Recipe
from router.ensembles.rule import Rule, Verdict, verdict
from router.ensembles.trace import Trace

# Told as answers come: the phase, how many answers are there, how many are planned.
Progress = Callable[[str, int, int], None]
# Nothing that may still come changes the outcome: the rest is cancelled. It may take its time to
# find out, but not past the deadline.
Settled = Callable[[Panel], bool | Awaitable[bool]]
_Spec = TypeVar("_Spec", bound=EnsembleSection)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client gets: one voice, or of `compare` several. `confidence`: 0 to 1, if known."""

    voices: tuple[Voice, ...]
    confidence: float | None = None

    @property
    def voice(self) -> Voice:
        return self.voices[0]


@dataclass(slots=True)
class Told:
    """What a kind has to tell for the trace."""

    votes: Mapping[str, float] = field(default_factory=dict)
    escalations: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)


class Run:
    """Made inside the event loop at the request's arrival; `kinds.execute` drives it.

    `roster`: what is known of members, by model. One without an entry has no record.
    """

    def __init__(
        self,
        recipe: Recipe,
        ask: Ask,
        *,
        roster: Mapping[str, Member] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.recipe = recipe
        self.told = Told()
        self.budget = Budget(recipe.max_requests, recipe.spec.budget.tokens)
        self._roster = roster or {}
        self._progress = progress
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._calls = Calls(ask, self.budget, recipe.name, self._clock)
        self.hard_at = self._began_at + recipe.spec.deadline_s
        self.members = tuple(self.member(model) for model in recipe.members)

    # What the kinds call.

    def spec(self, kind: type[_Spec]) -> _Spec:
        assert isinstance(self.recipe.spec, kind)
        return self.recipe.spec

    def member(self, model: str) -> Member:
        return self._roster.get(model) or Member(model)

    @property
    def is_over(self) -> bool:
        return self._clock() >= self.hard_at

    @property
    def is_spoken(self) -> bool:
        """Text of `say` has gone to the client, so that nothing else can be the answer now."""
        return self._calls.is_spoken

    async def panel(
        self,
        calls: Sequence[Call],
        *,
        phase: str = "panel",
        rule: Rule | None = None,
        settled: Settled | None = None,
    ) -> Panel:
        """Asks all at once, but members of one turn one after the other.

        Too few answers are no exception here, but a member's failure is with `on_error: fail`.
        """
        rule = rule or Rule.of(self.recipe.spec)
        panel = await self._hear(calls, phase, rule, settled)
        if rule.fail_fast and panel.failures:
            raise panel.failures[0].error
        return panel

    def require(self, panel: Panel, quorum: int = 1) -> None:
        """Raises the error to answer with when the panel has fewer voices than that."""
        error = panel.complaint(self.recipe.name, quorum, self.recipe.spec.deadline_s)
        if error is not None:
            raise error

    async def one(self, member: Member, request: Request, *, phase: str) -> Voice:
        """Asks a single member, for one voice. Raises its error, or DeadlineError."""
        panel = await self._hear([Call(member, request)], phase, Rule())
        self.require(panel)
        return panel.voices[0]

    async def say(self, member: Member, request: Request, *, phase: str) -> Voice:
        """As `one`, of the call whose text is the answer: it may go to the client as it comes."""
        panel = await self._hear([Call(member, request)], phase, Rule(), final=True)
        self.require(panel)
        return panel.voices[0]

    # What whoever drives the run calls.

    def trace(self) -> Trace:
        """At any time, after a failure too."""
        return Trace(
            self.recipe.name,
            self.recipe.kind,
            self._clock() - self._began_at,
            self._calls.traces,
            self.told.votes,
            tuple(self.told.escalations),
            self.told.notes,
        )

    def out_of_time(self) -> DeadlineError:
        return DeadlineError(
            f"ensemble {self.recipe.name!r}: no answer after {self.recipe.spec.deadline_s:g} s"
        )

    # Waiting.

    async def _hear(
        self,
        calls: Sequence[Call],
        phase: str,
        rule: Rule,
        settled: Settled | None = None,
        *,
        final: bool = False,
    ) -> Panel:
        board = Board(calls)
        if self.is_over:
            return board.panel(is_late=True)

        async def in_turn(places: Sequence[int]) -> None:
            for i in places:
                await self._calls.make(i, calls[i], phase, board, final=final)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(in_turn(places)) for places in turns(calls)]
                panel = await self._until_over(board, phase, rule, settled)
                board.close(is_late=panel.is_late)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as faults:  # an Ask raised what it must not: a fault of ours
            raise faults.exceptions[0] from None
        return panel

    async def _until_over(
        self, board: Board, phase: str, rule: Rule, settled: Settled | None
    ) -> Panel:
        soft_s = self.recipe.spec.panel_s
        soft_at = self.hard_at if soft_s is None else min(self._clock() + soft_s, self.hard_at)
        while True:
            panel, now = board.panel(), self._clock()
            if self._progress:
                self._progress(phase, len(panel.voices), panel.planned)
            if await is_done(panel, rule, settled, past_soft=now >= soft_at):
                return panel
            if now >= self.hard_at:
                return board.panel(is_late=True)
            await board.news(soft_at if now < soft_at else self.hard_at)


async def is_done(panel: Panel, rule: Rule, settled: Settled | None, *, past_soft: bool) -> bool:
    if verdict(rule, panel.standing, past_soft=past_soft) is not Verdict.WAIT:
        return True
    if settled is None or len(panel.voices) < rule.quorum:
        return False
    told = settled(panel)
    return told if isinstance(told, bool) else await told


def turns(calls: Sequence[Call]) -> list[list[int]]:
    """Places in `calls` by turn; a call without one is a turn of its own."""
    by_turn: dict[object, list[int]] = {}
    for i, call in enumerate(calls):
        by_turn.setdefault(i if call.member.turn is None else call.member.turn, []).append(i)
    return list(by_turn.values())
