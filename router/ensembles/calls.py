"""One call of one member: granted by the budget, metered as it comes, recorded however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.errors import BadRequestError, EngineTimeoutError, RoundhouseError
from router.ensembles.ask import Answer, Ask, Meter
from router.ensembles.budget import Budget, Grant
from router.ensembles.panel import Board, Call
from router.ensembles.trace import CallTrace, Fate


@dataclass(slots=True)
class _Record:
    """How a call fares, while that is being found out."""

    number: int
    meter: Meter
    began_at: float
    fate: Fate = "cancelled"
    answer: Answer | None = None
    error: RoundhouseError | None = None


class Calls:
    """`clock` is the event loop's; `name` is the ensemble's, for its errors."""

    def __init__(self, ask: Ask, budget: Budget, name: str, clock: Callable[[], float]) -> None:
        self.is_spoken = False  # text of a final call has gone to the client
        self._ask = ask
        self._budget = budget
        self._name = name
        self._clock = clock
        self._began_at = clock()
        self._traces: dict[int, CallTrace] = {}
        self._numbers = 0

    @property
    def traces(self) -> tuple[CallTrace, ...]:
        """In the order of their starts; of calls that have ended."""
        return tuple(self._traces[number] for number in sorted(self._traces))

    async def make(self, i: int, call: Call, phase: str, board: Board, *, final: bool) -> None:
        """The call at `i` of the board. Its failure is written there, and does not raise."""
        grant = self._budget.grant(call.request)
        if grant is None:
            board.ended(i, self._refused(call, phase))
            return
        meter = Meter(grant.output_tokens, lambda choice: board.choice(i, choice), final=final)
        with self._recorded(call, phase, grant, meter, board) as record:
            board.number(i, record.number)
            await self._answer(record, call, grant)
            if not board.is_closed:
                record.fate = _fate(record)
            for choice in record.answer.choices if record.answer else ():
                board.choice(i, choice)
            board.ended(i, record.error)

    async def _answer(self, record: _Record, call: Call, grant: Grant) -> None:
        try:
            record.answer = await self._ask(call.member, grant.request, record.meter)
        except RoundhouseError as error:
            record.error = error
        except TimeoutError:
            record.error = EngineTimeoutError(f"{call.member.model}: no answer in time")

    @contextmanager
    def _recorded(
        self, call: Call, phase: str, grant: Grant, meter: Meter, board: Board
    ) -> Iterator[_Record]:
        record = _Record(self._next_number(), meter, self._clock())
        try:
            yield record
        except Exception:
            record.fate = "failed"
            raise
        finally:
            self.is_spoken |= meter.said
            if record.fate == "cancelled" and board.is_late:
                record.fate = "late"
            entry = self._entry(call, phase, grant, record)
            self._traces[record.number] = entry
            self._budget.settle(grant, entry.prompt_tokens + entry.output_tokens)

    def _entry(self, call: Call, phase: str, grant: Grant, record: _Record) -> CallTrace:
        meter, answer = record.meter, record.answer
        usage = answer.usage if answer else None
        told = meter.prompt_tokens
        estimate = grant.request.prompt_tokens if told is None else told
        return CallTrace(
            member=call.member.model,
            phase=phase,
            fate=record.fate,
            began_s=record.began_at - self._began_at,
            took_s=self._clock() - record.began_at,
            samples=grant.request.samples,
            prompt_tokens=usage.prompt_tokens if usage else estimate,
            output_tokens=usage.output_tokens if usage else meter.output_tokens,
            model=(answer.model if answer else "") or meter.model or call.member.model,
            replica=answer.replica if answer else None,
            cost_usd=answer.cost_usd if answer else None,
            error=str(record.error) if record.error else None,
        )

    def _refused(self, call: Call, phase: str) -> BadRequestError:
        error = BadRequestError(
            f"ensemble {self._name!r}: its budget has nothing left for {call.member.model}; raise "
            "budget.tokens or budget.requests, or ask for fewer samples or max_tokens",
            param="routing",
        )
        self._traces[self._next_number()] = CallTrace(
            member=call.member.model,
            phase=phase,
            fate="unaffordable",
            began_s=self._clock() - self._began_at,
            took_s=0.0,
            samples=call.request.samples,
            error=str(error),
        )
        return error

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers - 1


def _fate(record: _Record) -> Fate:
    if record.error is not None:
        return "failed"
    choices = record.answer.choices if record.answer else ()
    return "empty" if all(choice.is_empty for choice in choices) else "answered"
