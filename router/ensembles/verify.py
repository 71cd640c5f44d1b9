"""Kind `verify`: one model answers, another checks it by named criteria, and the first corrects,
until it passes or the rounds are used up."""

from __future__ import annotations

from dataclasses import asdict
from statistics import fmean

from common.ensembles_steps import VerifyConfig
from common.errors import RoundhouseError
from router.ensembles import criteria, room
from router.ensembles.asides import Form, Messages, adding, aside, said
from router.ensembles.ask import Member, Request
from router.ensembles.criteria import Finding
from router.ensembles.panel import Voice
from router.ensembles.run import Outcome, Run

_CHECK_TOKENS = 1024
Findings = tuple[Finding, ...]


async def verify(run: Run, request: Request) -> Outcome:
    """A checker that fails, or cannot be read, leaves the answer as it is."""
    spec, writer = run.spec(VerifyConfig), run.members[0]
    check = Check(run, request, spec, run.members[-1])
    answer = await run.one(writer, request, phase="answer")
    findings = await check.of(answer)
    for i in range(spec.rounds):
        if findings is None or all(finding.passed for finding in findings):
            break
        better = await _corrected(run, request, answer, findings, is_last=i == spec.rounds - 1)
        if better is None:
            break
        answer, findings = better, await check.of(better)
    run.told.notes["verdict"] = _verdict(findings)
    return Outcome((answer,), _share(findings))


class Check:
    """Told of in the trace: `checks`, one after the other, and why there is none."""

    def __init__(self, run: Run, request: Request, spec: VerifyConfig, checker: Member) -> None:
        self._run, self._request, self._spec, self._checker = run, request, spec, checker
        self._form = Form(run, checker, "check")
        self._told = run.told.notes.setdefault("checks", [])

    async def of(self, answer: Voice) -> Findings | None:
        if (answer.choice.message or {}).get("tool_calls"):
            return self._unchecked("calls of tools are not checked")
        try:
            voice = await self._form.ask(*(self._asked(answer, as_json=j) for j in (True, False)))
        except RoundhouseError as error:
            # What the client has seen is not taken back.
            if self._spec.on_error == "fail" and not self._run.is_spoken:
                raise
            return self._unchecked(str(error))
        findings = criteria.read(voice.choice.text, self._spec.criteria)
        if findings is None:
            return self._unchecked("the checker's words do not speak to each criterion")
        self._told.append([asdict(finding) for finding in findings])
        return findings

    def _unchecked(self, why: str) -> Findings | None:
        self._run.told.notes["unchecked"] = why
        return None

    def _asked(self, answer: Voice, *, as_json: bool) -> Request:
        named = self._spec.criteria
        asked = criteria.question(named, as_json=as_json)
        form = criteria.response_format(named) if as_json else None

        def with_answer(text: str) -> Messages:
            return adding((*self._request.messages, {"role": "assistant", "content": text}), asked)

        most = room.left(self._checker, with_answer(""), _CHECK_TOKENS)
        messages = with_answer(room.clipped(said(answer), most))
        return aside(self._request, messages, _CHECK_TOKENS, temperature=0, response_format=form)


async def _corrected(
    run: Run, request: Request, answer: Voice, findings: Findings, *, is_last: bool
) -> Voice | None:
    """None where that failed. Only of the last round is it sure to be the client's answer."""
    told = {"role": "assistant", "content": said(answer)}
    asked = request.saying(adding((*request.messages, told), criteria.correction(findings)))
    ask = run.say if is_last else run.one
    try:
        return await ask(answer.member, asked, phase="correction")
    except RoundhouseError as error:
        if run.is_spoken or run.recipe.spec.on_error == "fail":
            raise
        run.told.notes["uncorrected"] = str(error)
        return None


def _share(findings: Findings | None) -> float | None:
    return None if findings is None else fmean(finding.passed for finding in findings)


def _verdict(findings: Findings | None) -> str:
    if findings is None:
        return "unchecked"
    return "passed" if all(finding.passed for finding in findings) else "failed"
