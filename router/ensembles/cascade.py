"""Kind `cascade`: small models first. What they agree on, the smallest one's answer says; where
they disagree, or it is not sure, the next larger model is asked."""

from __future__ import annotations

from dataclasses import replace

from common.ensembles_config import CascadeConfig
from common.errors import RoundhouseError
from router.ensembles.ask import Member, Request
from router.ensembles.confidence import check_of, margin, mean_logprob, says_yes
from router.ensembles.extraction import extract
from router.ensembles.panel import Call, Panel, Voice
from router.ensembles.rule import Rule
from router.ensembles.run import Outcome, Run
from router.ensembles.tally import agreed

_BY_NUMBER = {"margin": margin, "mean_logprob": mean_logprob}


async def cascade(run: Run, request: Request) -> Outcome:
    spec = run.spec(CascadeConfig)
    panel = await _start(run, request, spec)
    doubt = await _doubt(run, request, spec, panel)
    if doubt is None:
        return Outcome(panel.voices[:1], 1.0 if spec.answers > 1 else None)
    return await _escalate(run, request, spec, panel, doubt)


async def _start(run: Run, request: Request, spec: CascadeConfig) -> Panel:
    sampled = request.sampled(spec.of_each, spec.sampling)
    if spec.confidence in _BY_NUMBER:
        sampled = replace(sampled, logprobs=True)
    starters = run.members[: spec.starters]

    def settled(panel: Panel) -> bool:
        """They cannot agree any more."""
        said = [_said(voice, request, spec) for voice in panel.voices]
        return bool(panel.missing) or (bool(said) and not agreed(said, len(said)))

    rule = Rule(fail_fast=spec.on_error == "fail")
    return await run.panel([Call(m, sampled) for m in starters], rule=rule, settled=settled)


async def _doubt(run: Run, request: Request, spec: CascadeConfig, panel: Panel) -> str | None:
    """Why the first answers do not stand; None when they do."""
    said = [_said(voice, request, spec) for voice in panel.voices]
    if not panel.voices:
        return "no answer"
    if spec.answers > 1 and not agreed(said, spec.answers):
        return "no agreement"
    first = panel.voices[0]
    if spec.confidence == "self_check":
        return None if await _holds(run, request, first) else "self-check failed"
    if spec.confidence is None:
        return None
    value = _BY_NUMBER[spec.confidence](first.choice)
    run.told.notes[spec.confidence] = value
    assert spec.threshold is not None
    if value is None:
        return f"{spec.confidence} unknown"
    return f"{spec.confidence} {value:.3g}" if value < spec.threshold else None


async def _holds(run: Run, request: Request, voice: Voice) -> bool:
    try:
        check = check_of(request, voice.choice.text)
        told = await run.one(voice.member, check, phase="self-check")
    except RoundhouseError:
        return False
    return says_yes(told.choice.text)


async def _escalate(
    run: Run, request: Request, spec: CascadeConfig, panel: Panel, doubt: str
) -> Outcome:
    """The first larger model whose answer one of the earlier ones shares, else the largest's."""
    voices, failure = list(panel.voices), None
    larger = run.members[spec.starters :]
    for member in larger:
        if run.is_over:
            break
        run.told.escalations.append(f"{member.model}: {doubt}")
        try:
            voice = await _next(run, request, member, is_last=member is larger[-1])
        except RoundhouseError as error:
            if run.is_spoken or spec.on_error == "fail":
                raise
            failure, doubt = error, "failed"
            continue
        ally = _ally(voice, voices, request, spec)
        if ally or member is larger[-1]:
            return Outcome((voice,), None)
        voices.append(voice)
        doubt = "no agreement"
    return _best_left(run, panel, voices, failure)


async def _next(run: Run, request: Request, member: Member, *, is_last: bool) -> Voice:
    """Only the last one's answer is sure to be the client's, so only that may be streamed."""
    ask = run.say if is_last else run.one
    return await ask(member, request, phase="escalation")


def _best_left(
    run: Run, panel: Panel, voices: list[Voice], failure: RoundhouseError | None
) -> Outcome:
    if voices:  # of the largest that has answered
        run.told.notes["stands_in"] = voices[-1].member.model
        return Outcome((voices[-1],), 0.0)
    if failure:
        raise failure
    run.require(panel)
    raise run.out_of_time()


def _ally(
    voice: Voice, earlier: list[Voice], request: Request, spec: CascadeConfig
) -> Voice | None:
    said = _said(voice, request, spec)
    others = (each for each in earlier if _said(each, request, spec) == said)
    return next(others, None) if said is not None else None


def _said(voice: Voice, request: Request, spec: CascadeConfig) -> str | None:
    choice = voice.choice
    return extract(choice.text, spec.extract, question=request.question, is_cut=choice.is_cut)
