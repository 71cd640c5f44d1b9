"""Members that answer by a script: late, wrong, empty, never, or not at all.

They run on the event loop's clock alone, so that a virtual one makes them quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmarks import virtual_time
from common.ensemble_section import EnsembleSection
from common.errors import RoundhouseError
from router.ensembles.ask import Answer, Choice, Member, Meter, Request, Token, Usage
from router.ensembles.kinds import execute
from router.ensembles.panel import Call
from router.ensembles.recipe import Recipe
from router.ensembles.run import Outcome, Run
from router.ensembles.trace import Trace

T = TypeVar("T")

QUESTION = Request(({"role": "user", "content": "How many?"},), max_tokens=100, prompt_tokens=10)


@dataclass(frozen=True)
class Script:
    """`texts`: one after the other, round and round, over all samples that are asked for."""

    texts: Sequence[str] = ("18",)
    delay_s: float = 1.0
    tokens: int = 10  # of each sample; they come evenly over `delay_s`
    error: BaseException | None = None  # after the tokens
    hangs: bool = False  # after the tokens
    keeps_limit: bool = True  # of max_tokens
    one_by_one: bool = False  # samples are told as they are whole
    cut: bool = False
    logprobs: tuple[Token, ...] = ()
    says: bool = False  # of a final call the client has seen text


@dataclass
class House:
    """All members. It is the `Ask`, and remembers what it was asked."""

    scripts: Mapping[str, Script]
    asked: list[tuple[str, Request]] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    most_running: int = 0
    cancelled: list[str] = field(default_factory=list)
    finals: list[str] = field(default_factory=list)
    generated: int = 0

    async def __call__(self, member: Member, request: Request, meter: Meter) -> Answer:
        script = self.scripts[member.model]
        said = sum(r.samples for model, r in self.asked if model == member.model)
        self.asked.append((member.model, request))
        self.running.append(member.model)
        self.most_running = max(self.most_running, len(self.running))
        if meter.final:
            self.finals.append(member.model)
            meter.said = script.says
        try:
            return await self._answer(script, request, meter, said)
        except asyncio.CancelledError:
            self.cancelled.append(member.model)
            raise
        finally:
            self.running.remove(member.model)

    async def _answer(self, script: Script, request: Request, meter: Meter, said: int) -> Answer:
        each = script.tokens
        if script.keeps_limit and request.max_tokens is not None:
            each = min(each, request.max_tokens)
        meter.prompt_tokens = request.prompt_tokens
        choices: list[Choice] = []
        for i in range(request.samples):
            text = script.texts[(said + i) % len(script.texts)] if script.texts else ""
            await self._generate(each, script.delay_s / request.samples, meter)
            choices.append(
                Choice(text, i, "length" if script.cut else "stop", None, script.logprobs)
            )
            if script.one_by_one:
                meter.finished(choices[-1])
        if script.error:
            raise script.error
        if script.hangs:
            await asyncio.get_running_loop().create_future()
        return Answer(tuple(choices), Usage(request.prompt_tokens, each * request.samples))

    async def _generate(self, tokens: int, over_s: float, meter: Meter) -> None:
        if not tokens:
            await asyncio.sleep(over_s)
        for _ in range(tokens):
            await asyncio.sleep(over_s / tokens)
            self.generated += 1
            meter.heard(1)


@dataclass(frozen=True)
class Ended:
    """How a run ended. `took_s` is virtual."""

    outcome: Outcome | None
    error: RoundhouseError | None
    trace: Trace
    took_s: float
    house: House
    spent: int
    progress: list[tuple[str, int, int]]

    @property
    def text(self) -> str:
        assert self.outcome is not None, self.error
        return self.outcome.voice.choice.text

    @property
    def model(self) -> str:
        assert self.outcome is not None, self.error
        return self.outcome.voice.member.model

    def fates(self) -> dict[str, str]:
        return {call.member: call.fate for call in self.trace.calls}


async def ended(
    spec: EnsembleSection,
    scripts: Mapping[str, Script],
    request: Request = QUESTION,
    *,
    roster: Mapping[str, Member] | None = None,
    kinds: Any = None,
    hang_up_after_s: float | None = None,
) -> Ended:
    """Runs it to its end, and sees that nothing is left of it."""
    house, progress = House(scripts), []
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    run = Run(
        Recipe("test", spec), house, roster=roster, progress=lambda *told: progress.append(told)
    )
    outcome, error = None, None
    task = asyncio.create_task(execute(run, request, *([kinds] if kinds else [])))
    try:
        if hang_up_after_s is not None:
            await asyncio.wait({task}, timeout=hang_up_after_s)
            task.cancel()
        outcome = await task
    except RoundhouseError as raised:
        error = raised
    except asyncio.CancelledError:
        assert hang_up_after_s is not None
    took_s = loop.time() - began_at
    assert house.running == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert run.budget.held == 0
    return Ended(outcome, error, run.trace(), took_s, house, run.budget.spent, progress)


def played(
    spec: EnsembleSection, scripts: Mapping[str, Script], request: Request = QUESTION, **kw: Any
) -> Ended:
    return virtual_time.run(ended(spec, scripts, request, **kw))


def on_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return virtual_time.run(main())


__all__ = ["QUESTION", "Call", "Ended", "House", "Script", "ended", "on_loop", "played"]
