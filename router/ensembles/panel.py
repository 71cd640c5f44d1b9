"""The answers of several calls as they come: who has spoken, who has failed, who is still out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import DeadlineError, EngineError, RequestError, RoundhouseError
from router.ensembles.ask import Choice, Member, Request
from router.ensembles.rule import Standing


@dataclass(frozen=True, slots=True)
class Call:
    member: Member
    request: Request


@dataclass(frozen=True, slots=True)
class Voice:
    """One answer, and whose. `call` is its number in the trace, `place` that among the panel's
    calls."""

    member: Member
    choice: Choice
    call: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    member: Member
    error: RoundhouseError


@dataclass(frozen=True, slots=True)
class Panel:
    """A snapshot, or the outcome. `voices` stand in the order of the calls, not of arrival."""

    voices: tuple[Voice, ...] = ()
    failures: tuple[Failure, ...] = ()
    outstanding: tuple[Member, ...] = ()  # once for every answer that may still come
    missing: tuple[Member, ...] = ()  # once for every answer that will not come, or is empty
    planned: int = 0
    is_late: bool = False

    @property
    def standing(self) -> Standing:
        return Standing(len(self.voices), len(self.missing), len(self.outstanding))

    def then(self, later: Panel) -> Panel:
        """Both as one, where one was asked after the other."""
        return Panel(
            self.voices + later.voices,
            self.failures + later.failures,
            self.outstanding + later.outstanding,
            self.missing + later.missing,
            self.planned + later.planned,
            self.is_late or later.is_late,
        )

    def complaint(self, name: str, quorum: int, deadline_s: float) -> RoundhouseError | None:
        """The error to answer with when there are fewer voices than a quorum."""
        if len(self.voices) >= quorum:
            return None
        told = f"ensemble {name!r}: {len(self.voices)} of {self.planned} answers"
        if self.is_late:
            return DeadlineError(f"{told} after {deadline_s:g} s, and it needs {quorum}")
        errors = [failure.error for failure in self.failures]
        at_fault = next((e for e in errors if isinstance(e, RequestError)), None)
        if at_fault or len(errors) == 1:
            return at_fault or errors[0]
        reasons = "; ".join(f"{each.member.model}: {each.error}" for each in self.failures)
        return EngineError(f"{told}, and it needs {quorum}: {reasons or 'the others were empty'}")


class Board:
    """Where the calls of one panel write down what they hear. `call` is a place in `calls`."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self._numbers = [0] * len(calls)
        self._choices: list[dict[int, Choice]] = [{} for _ in calls]
        self._ended = [False] * len(calls)
        self._failures: list[Failure] = []
        self.is_closed = False
        self.is_late = False
        self._news = asyncio.Event()

    def close(self, *, is_late: bool) -> None:
        """Decided: who comes to an end from now on was cancelled."""
        self.is_closed, self.is_late = True, is_late

    def number(self, call: int, number: int) -> None:
        """Under which number the trace knows it."""
        self._numbers[call] = number

    def choice(self, call: int, choice: Choice) -> None:
        self._choices[call][choice.index] = choice
        self._news.set()

    def ended(self, call: int, error: RoundhouseError | None = None) -> None:
        self._ended[call] = True
        if error is not None:
            self._failures.append(Failure(self._calls[call].member, error))
        self._news.set()

    async def news(self, until: float) -> None:
        """Waits until something has been written, or until then, by the event loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def panel(self, *, is_late: bool = False) -> Panel:
        voices: list[Voice] = []
        outstanding: list[Member] = []
        missing: list[Member] = []
        for i, call in enumerate(self._calls):
            heard = self._voices(i)
            planned = call.request.samples
            to_come = 0 if self._ended[i] else max(0, planned - len(self._choices[i]))
            voices += heard
            outstanding += [call.member] * to_come
            missing += [call.member] * (planned - len(heard) - to_come)
        return Panel(
            tuple(voices),
            tuple(self._failures),
            tuple(outstanding),
            tuple(missing),
            planned=sum(call.request.samples for call in self._calls),
            is_late=is_late,
        )

    def _voices(self, call: int) -> list[Voice]:
        choices = self._choices[call]
        member, number = self._calls[call].member, self._numbers[call]
        whole = (choices[index] for index in sorted(choices) if not choices[index].is_empty)
        return [Voice(member, choice, number, call) for choice in whole]
