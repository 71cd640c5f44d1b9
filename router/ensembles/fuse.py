"""Kind `fuse`: a panel answers, a judge says where the answers agree, differ and stand alone, and
one answer is written of all of them. None is thrown out: what differs is kept in the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from common.ensembles_judged import FuseConfig
from common.errors import ContextTooLongError, RoundhouseError
from router.ensembles import room
from router.ensembles.asides import aside, said
from router.ensembles.ask import BYTES_PER_TOKEN, Member, Request
from router.ensembles.fence import Fence
from router.ensembles.judging import best_known, fence_for, over_answers, refuse_tools, shown
from router.ensembles.panel import Call, Voice
from router.ensembles.read_json import objects
from router.ensembles.run import Outcome, Run

_ANALYSIS_TOKENS = 1024  # a thinking judge thinks within them, too
_ANALYSIS_SHARE = 8  # of a small context, at the most
_FEWEST_TOKENS = 48  # of an answer that is cut; less of it is nothing to judge

_ANALYSE = """\
Compare the answers; do not answer the question yet. Each of them may be wrong, and so may all of \
them together. Refer to them by their numbers. Reply with one JSON object and nothing else:
{"consensus": ["what all or most say"],
 "contradictions": [{"point": "where they differ", "says": {"1": "...", "2": "..."}}],
 "unique": [{"answer": 1, "point": "what only this one says"}],
 "missing": ["what the question asks for and none says"]}
Write its texts in the language of the question."""

_WRITE = """\
Write the answer to the question: the best that can be given, in the language that the question is \
written in, unless it asks for another one. Take over what is right, whoever says it, and only \
that. Where the answers differ, decide by checking them against the question, not by counting \
them; do not average numbers; if it matters and cannot be decided, say that it is open. Keep to \
the form and the length that the question asks for. Do not mention the answers, their numbers or \
this comparison."""


@dataclass(frozen=True)
class _Bench:
    """Who judges and writes, and what both are shown."""

    judge: Member
    writer: Member
    request: Request
    answers: Sequence[str]  # shuffled, and cut to what both can read
    analysis_tokens: int
    fence: Fence
    random: Random

    def asked(self, task: str) -> tuple[Mapping[str, Any], ...]:
        return over_answers(self.request, self.answers, self.fence, task)


async def fuse(run: Run, request: Request) -> Outcome:
    spec = run.spec(FuseConfig)
    refuse_tools(request, spec.kind)
    sampled = request.sampled(spec.of_each, spec.sampling)
    panel = await run.panel([Call(member, sampled) for member in run.members])
    run.require(panel, spec.quorum)
    if len(panel.voices) == 1:
        run.told.notes["alone"] = panel.voices[0].member.model
        return Outcome(panel.voices)
    try:
        return Outcome((await _fused(run, request, spec, panel.voices),))
    except RoundhouseError as error:
        if run.is_spoken or spec.on_error == "fail":
            raise
        best = best_known(panel.voices)
        run.told.notes |= {"not_fused": str(error), "stands_in": best.member.model}
        return Outcome((best,), 0.0)


async def _fused(run: Run, request: Request, spec: FuseConfig, voices: Sequence[Voice]) -> Voice:
    bench = _bench(run, request, spec, voices)
    analysis = await _analysis(run, bench)
    task = _WRITE
    if analysis:
        block = Fence([analysis], bench.random).around("comparison", analysis)
        task = f"A comparison of the answers, which may be wrong, too:\n\n{block}\n\n{_WRITE}"
    written = bench.request.saying(bench.asked(task))
    return await run.say(bench.writer, written, phase="write")


def _bench(run: Run, request: Request, spec: FuseConfig, voices: Sequence[Voice]) -> _Bench:
    random = Random(spec.seed)  # noqa: S311 - an order, not a secret
    shuffled = random.sample(voices, len(voices))
    run.told.notes["answers"] = [
        {"answer": i, "member": voice.member.model, "text": voice.choice.text}
        for i, voice in enumerate(shuffled, 1)
    ]
    judge = run.member(spec.judge) if spec.judge else best_known(voices).member
    writer = run.member(spec.writer) if spec.writer else judge
    answers = [shown(voice) for voice in shuffled]
    fence = fence_for(request, answers, random)
    whole = _Bench(judge, writer, request, answers, _ANALYSIS_TOKENS, fence, random)
    least = _least_context(judge, writer)
    return whole if least is None else _fitting(whole, least, run)


def _least_context(*members: Member) -> Member | None:
    """Of those whose context is known, who has the smallest."""
    known = [(member.context_tokens, i) for i, member in enumerate(members)]
    sized = [(tokens, i) for tokens, i in known if tokens is not None]
    return members[min(sized)[1]] if sized else None


def _fitting(bench: _Bench, reader: Member, run: Run) -> _Bench:
    """With answers cut to the context; the analysis is written first, and then read beside them.

    Raises ContextTooLongError when too little would be left of them.
    """
    context = reader.context_tokens or 0
    analysis = min(_ANALYSIS_TOKENS, context // _ANALYSIS_SHARE)
    empty = replace(bench, answers=[""] * len(bench.answers))
    left = room.left(reader, empty.asked(_WRITE), bench.request.max_tokens) or 0
    if left - analysis < _least_room(bench.answers):
        raise ContextTooLongError(
            f"{reader.model}: its context of {context} tokens is too small to judge "
            f"{len(bench.answers)} answers"
        )
    kept = room.shared(bench.answers, left - analysis)
    if kept != tuple(bench.answers):
        run.told.notes["clipped_to"] = context
    limit = bench.request.max_tokens
    request = bench.request if limit is None else bench.request.limited(context // 2)
    return replace(bench, request=request, answers=kept, analysis_tokens=analysis)


def _least_room(answers: Sequence[str]) -> int:
    """Tokens without which an answer would be cut to nothing."""
    return sum(min(_FEWEST_TOKENS, len(text.encode()) // BYTES_PER_TOKEN + 1) for text in answers)


async def _analysis(run: Run, bench: _Bench) -> str | None:
    """Where the answers agree and differ, as the judge tells it. The writer can do without it, if
    that is another model than the one that has just failed."""
    asked = aside(bench.request, bench.asked(_ANALYSE), bench.analysis_tokens, temperature=0)
    try:
        voice = await run.one(bench.judge, asked, phase="analyse")
    except RoundhouseError as error:
        if bench.writer == bench.judge or run.recipe.spec.on_error == "fail":
            raise
        run.told.notes["not_analysed"] = str(error)
        return None
    told = said(voice)
    run.told.notes["analysis"] = next(objects(told), told)
    return room.clipped(told, bench.analysis_tokens) or None
