"""Kind `decompose`: a plan of sub-questions, all answered side by side, and one answer of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.ensembles_steps import DecomposeConfig
from common.errors import RoundhouseError
from router.ensembles import plans, room
from router.ensembles.asides import Form, adding, aside, refuse_images, said, systems
from router.ensembles.ask import Member, Request
from router.ensembles.judging import refuse_tools
from router.ensembles.panel import Call, Panel
from router.ensembles.rule import Rule
from router.ensembles.run import Outcome, Run
from router.ensembles.tally import ranks_of

_PLAN_TOKENS = 1024
_ANSWER_TOKENS = 1024  # of a sub-answer, so that all of them fit into the writer's context
_FEWEST = 2  # a single sub-question is the question itself


async def decompose(run: Run, request: Request) -> Outcome:
    """Without a plan that can be read, the writer answers directly."""
    spec = run.spec(DecomposeConfig)
    refuse_tools(request, spec.kind)
    refuse_images(request, spec.kind)
    writer = _named(run, spec.writer)
    questions = await _plan(run, request, spec)
    if not questions:
        return Outcome((await run.say(writer, request, phase="answer"),))
    answers = await _answers(run, request, spec, questions)
    run.told.notes["questions"] = [
        {"question": question, "answered": bool(answer)}
        for question, answer in zip(questions, answers, strict=True)
    ]
    whole = _whole(request, writer, questions, answers)
    return Outcome((await run.say(writer, whole, phase="synthesis"),))


def _named(run: Run, model: str | None) -> Member:
    """Or the member with the best record; of equals the first."""
    if model is not None:
        return run.member(model)
    ranks = ranks_of([member.record for member in run.members])
    return run.members[ranks.index(0)]


async def _plan(run: Run, request: Request, spec: DecomposeConfig) -> Sequence[str]:
    """Empty, and why in the trace, where the question is to be answered directly."""
    if _affordable(run) - 1 < _FEWEST:  # the plan is one of them
        return _direct(run, "the budget allows no plan")
    try:
        questions = plans.read(await _planned(run, request, spec))
    except RoundhouseError as error:
        if spec.on_error == "fail":
            raise
        return _direct(run, f"the planner failed: {error}")
    if questions is None:
        return _direct(run, "the plan could not be read")
    most = min(spec.max_questions, _affordable(run))
    if len(questions) > most:
        run.told.notes["questions_dropped"] = len(questions) - most
    if len(questions[:most]) < _FEWEST:
        return _direct(run, "the planner sees nothing to split")
    return questions[:most]


def _affordable(run: Run) -> int:
    """Answers, the last one aside."""
    return run.budget.requests - run.budget.asked - 1


def _direct(run: Run, why: str) -> tuple[str, ...]:
    run.told.notes["undivided"] = why
    return ()


async def _planned(run: Run, request: Request, spec: DecomposeConfig) -> str:
    def asked(*, as_json: bool) -> Request:
        most = spec.max_questions
        messages = adding(request.messages, plans.question(most, as_json=as_json))
        form = plans.response_format(most) if as_json else None
        return aside(request, messages, _PLAN_TOKENS, temperature=0, response_format=form)

    planner = Form(run, _named(run, spec.planner), "plan")
    return said(await planner.ask(asked(as_json=True), asked(as_json=False)))


async def _answers(
    run: Run, request: Request, spec: DecomposeConfig, questions: Sequence[str]
) -> list[str]:
    """Of each question; empty where there is none."""
    calls = [
        Call(run.members[i % len(run.members)], _alone(request, question))
        for i, question in enumerate(questions)
    ]
    quorum = min(spec.quorum, len(calls))
    rule = Rule(quorum, spec.first, fail_fast=spec.on_error == "fail")
    panel = await run.panel(calls, phase="question", rule=rule)
    run.require(panel, quorum)
    return [_of(panel, i) for i in range(len(calls))]


def _of(panel: Panel, call: int) -> str:
    return next((said(voice) for voice in panel.voices if voice.place == call), "")


def _alone(request: Request, question: str) -> Request:
    """Without the conversation, so that `auto` sees what is asked here."""
    user: dict[str, Any] = {"role": "user", "content": question}
    return aside(request, (*systems(request.messages), user), _ANSWER_TOKENS)


def _whole(
    request: Request, writer: Member, questions: Sequence[str], answers: Sequence[str]
) -> Request:
    fixed = adding(request.messages, plans.synthesis(questions, [""] * len(questions)))
    most = room.left(writer, fixed, request.max_tokens)
    told = plans.synthesis(questions, room.shared(answers, most))
    return request.saying(adding(request.messages, told))
