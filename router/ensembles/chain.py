"""Kind `chain`: named steps, one after the other, each asked in terms of what earlier ones said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common import template
from common.ensembles_chain import QUESTION, ChainConfig, ChainStep
from router.ensembles import room
from router.ensembles.asides import aside, refuse_images, systems
from router.ensembles.ask import Member, Request
from router.ensembles.judging import refuse_tools, shown
from router.ensembles.run import Outcome, Run


async def chain(run: Run, request: Request) -> Outcome:
    """A step that fails ends it: what comes after would rest on nothing."""
    spec = run.spec(ChainConfig)
    refuse_tools(request, spec.kind)
    refuse_images(request, spec.kind)
    texts = {QUESTION: request.question}
    for step in spec.steps[:-1]:
        member, asked = _asked(run, request, spec, step, texts)
        texts[step.key] = shown(await run.one(member, asked, phase=step.name))
        run.told.notes.setdefault("steps", {})[step.name] = texts[step.key]
    last = spec.steps[-1]
    member, asked = _asked(run, request, spec, last, texts)
    return Outcome((await run.say(member, asked, phase=last.name),))


def _asked(
    run: Run, request: Request, spec: ChainConfig, step: ChainStep, texts: Mapping[str, str]
) -> tuple[Member, Request]:
    member, is_last = run.member(spec.asked(step)), step is spec.steps[-1]
    limit = request.max_tokens if is_last else None
    limit = min(filter(None, (limit, step.max_tokens)), default=None)
    around = systems(request.messages)
    values = {name: texts[name] for name in template.names(step.template)}
    empty = template.filled(step.template, dict.fromkeys(values, ""))
    most = room.left(member, (*around, _user(empty)), limit)
    fitting = dict(zip(values, room.shared(tuple(values.values()), most), strict=True))
    if fitting != values:
        run.told.notes.setdefault("clipped", []).append(step.name)
    messages = (*around, _user(template.filled(step.template, fitting)))
    if not is_last:
        return member, aside(request, messages, limit)
    asked = request.saying(messages)
    return member, asked if limit is None else asked.limited(limit)


def _user(text: str) -> Mapping[str, Any]:
    return {"role": "user", "content": text}
