"""Kind `best_of`: the first answer that passes a check that can be trusted; without one, the answer
that a judge prefers in both orders."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from random import Random

from common.ensembles_judged import BestOfConfig, CheckConfig
from common.errors import NoAnswerPassedError
from router.ensembles import room
from router.ensembles.asides import aside, said
from router.ensembles.ask import Member, Request
from router.ensembles.checks.check import Check, Checking, Finding
from router.ensembles.judging import best_known, fence_for, over_answers, refuse_tools, shown
from router.ensembles.panel import Call, Panel, Voice
from router.ensembles.rule import Rule
from router.ensembles.run import Outcome, Run
from router.ensembles.tally import ranks_of

_VERDICT_TOKENS = 512  # one is enough, but a thinking judge thinks first
_COMPARE = """\
Which of the two answers is better: more correct, more complete, and more what the question asks \
for, its language included? Length is no merit. Reply with one digit and nothing else: 1 or 2, or \
0 if neither is better."""
_DIGIT = re.compile(r"\b[012]\b")

CheckOf = Callable[[CheckConfig], Checking]


async def best_of(run: Run, request: Request, check_of: CheckOf = Check) -> Outcome:
    spec = run.spec(BestOfConfig)
    refuse_tools(request, spec.kind)
    if spec.check is None:
        return await _preferred(run, request, spec)
    return await _passing(run, request, spec, check_of(spec.check))


async def _passing(run: Run, request: Request, spec: BestOfConfig, check: Checking) -> Outcome:
    await check.ready()
    book = _Book(run, check)
    panel = await run.panel(_calls(run, request, spec), settled=book.has_passed)
    run.require(panel, spec.quorum)
    await book.has_passed(panel)  # who answered last
    run.told.notes["checked"] = book.told(panel)
    winner = book.winner(panel)
    if winner is not None:
        return Outcome((winner,), 1.0)
    if spec.none_passes == "fail":
        raise NoAnswerPassedError(
            f"ensemble {run.recipe.name!r}: none of {len(panel.voices)} answers passes the check: "
            f"{book.complaint(panel)}"
        )
    run.told.notes["none_passed"] = True
    return Outcome((book.closest(panel),), 0.0)


class _Book:
    """What the check says of each answer. Each is checked once, one after the other."""

    def __init__(self, run: Run, check: Checking) -> None:
        self._run, self._check = run, check
        self._findings: dict[tuple[int, int], Finding] = {}

    async def has_passed(self, panel: Panel) -> bool:
        """Looks at new answers until one passes."""
        for voice in panel.voices:
            if self.winner(panel) is not None:
                return True
            if _key(voice) not in self._findings:
                self._findings[_key(voice)] = await self._finding(voice)
        return self.winner(panel) is not None

    def winner(self, panel: Panel) -> Voice | None:
        return next((v for v in panel.voices if (f := self._of(v)) and f.passed), None)

    def closest(self, panel: Panel) -> Voice:
        """The best member's of those that pass the most."""
        most = max(self._score(voice) for voice in panel.voices)
        return best_known([voice for voice in panel.voices if self._score(voice) == most])

    def complaint(self, panel: Panel) -> str:
        finding = self._of(self.closest(panel))
        wrong = finding.complaints if finding else {}
        return "; ".join(f"{key}: {told}" for key, told in wrong.items())

    def told(self, panel: Panel) -> list[dict[str, object]]:
        findings = [(voice, self._of(voice)) for voice in panel.voices]
        return [
            {"member": v.member.model, "passed": f.passed, "complaints": f.complaints}
            for v, f in findings
            if f is not None
        ]

    def _of(self, voice: Voice) -> Finding | None:
        return self._findings.get(_key(voice))

    def _score(self, voice: Voice) -> float:
        finding = self._of(voice)
        return finding.score if finding else 0.0

    async def _finding(self, voice: Voice) -> Finding:
        try:
            async with asyncio.timeout_at(self._run.hard_at):
                return await self._check.of(shown(voice))
        except TimeoutError:
            return Finding({"deadline": "no time was left to check it"}, 0.0)


def _key(voice: Voice) -> tuple[int, int]:
    return voice.call, voice.choice.index


def _calls(run: Run, request: Request, spec: BestOfConfig) -> list[Call]:
    sampled = request.sampled(spec.of_each, spec.sampling)
    return [Call(member, sampled) for member in run.members]


async def _preferred(run: Run, request: Request, spec: BestOfConfig) -> Outcome:
    """A ladder: who stands on it is replaced by who beats it. The best known starts."""
    panel = await run.panel(_calls(run, request, spec))
    run.require(panel, spec.quorum)
    voices = [panel.voices[i] for i in _by_record(panel.voices)]
    judge = run.member(spec.judge) if spec.judge else voices[0].member
    random = Random(spec.seed)  # noqa: S311 - marks, not secrets
    best = voices[0]
    told = run.told.notes.setdefault("compared", [])
    for rival in voices[1:]:
        won = await _beats(run, _Duel(request, judge, random), rival, best)
        told.append({"member": rival.member.model, "against": best.member.model, "won": won})
        if won is None:  # nor would it judge the next ones
            return Outcome((best,), None if len(told) > 1 else 0.0)
        best = rival if won else best
    return Outcome((best,))


def _by_record(voices: Sequence[Voice]) -> list[int]:
    ranks = ranks_of([voice.member.record for voice in voices])
    return sorted(range(len(voices)), key=ranks.__getitem__)


class _Duel:
    def __init__(self, request: Request, judge: Member, random: Random) -> None:
        self._request, self.judge, self._random = request, judge, random

    def asked(self, first: Voice, second: Voice) -> Call:
        answers = [shown(first), shown(second)]
        fence = fence_for(self._request, answers, self._random)
        empty = over_answers(self._request, ["", ""], fence, _COMPARE)
        kept = room.shared(answers, room.left(self.judge, empty, _VERDICT_TOKENS))
        messages = over_answers(self._request, kept, fence, _COMPARE)
        return Call(self.judge, aside(self._request, messages, _VERDICT_TOKENS, temperature=0))


async def _beats(run: Run, duel: _Duel, rival: Voice, best: Voice) -> bool | None:
    """In both orders, since judges prefer a place. None: it was not judged."""
    calls = [duel.asked(rival, best), duel.asked(best, rival)]
    rule = Rule(quorum=2, fail_fast=run.recipe.spec.on_error == "fail")
    panel = await run.panel(calls, phase="compare", rule=rule)
    if len(panel.voices) < 2:
        errors = [str(failure.error) for failure in panel.failures]
        run.told.notes["not_judged"] = "; ".join(errors) or "no verdict in time"
        return None
    return [picked(voice) for voice in panel.voices] == [1, 2]


def picked(voice: Voice) -> int | None:
    """1, 2, or 0 for neither; None where it does not say one of them plainly."""
    digits = set(_DIGIT.findall(said(voice)))
    return int(digits.pop()) if len(digits) == 1 else None
