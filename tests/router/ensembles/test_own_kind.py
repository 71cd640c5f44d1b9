"""What a kind of several steps is written against: draft, check by another model, correct."""

from __future__ import annotations

from common.ensembles_steps import VerifyConfig
from common.errors import EngineError, RoundhouseError
from router.ensembles.ask import Request
from router.ensembles.run import Outcome, Run
from tests.router.ensembles.flaky import Script, played

SPEC = VerifyConfig(members=("writer", "checker"))


async def corrected(run: Run, request: Request) -> Outcome:
    spec = run.spec(VerifyConfig)
    writer, checker = run.members
    draft = await run.one(writer, request, phase="draft")
    for _ in range(spec.rounds):
        said = {"role": "assistant", "content": draft.choice.text}
        check = (*request.messages, said, {"role": "user", "content": "Say OK, or what is wrong."})
        try:
            verdict = await run.one(checker, request.saying(check, temperature=0), phase="check")
        except RoundhouseError as error:
            run.told.notes["unchecked"] = str(error)
            return Outcome((draft,), None)
        if verdict.choice.text.startswith("OK"):
            return Outcome((draft,), 1.0)
        wrong = {"role": "user", "content": f"{verdict.choice.text}\nCorrect it."}
        correction = request.saying((*request.messages, said, wrong))
        try:
            draft = await run.say(writer, correction, phase="correct")
        except RoundhouseError:
            if run.is_spoken:
                raise
            return Outcome((draft,), 0.0)
    return Outcome((draft,), None)


KINDS = {"verify": corrected}


def test_what_passes_stands() -> None:
    run = played(SPEC, {"writer": Script(["4"]), "checker": Script(["OK"])}, kinds=KINDS)
    assert run.text == "4"
    assert run.house.finals == []


def test_what_does_not_is_corrected_and_only_that_is_said() -> None:
    scripts = {"writer": Script(["4", "5"]), "checker": Script(["It is 5"])}
    run = played(SPEC, scripts, kinds=KINDS)
    assert run.text == "5"
    assert [call.phase for call in run.trace.calls] == ["draft", "check", "correct"]
    assert run.house.finals == ["writer"]
    assert run.trace.requests == 3 <= SPEC.requests


def test_a_checker_that_fails_leaves_the_draft() -> None:
    scripts = {"writer": Script(["4"]), "checker": Script(error=EngineError("broken"))}
    run = played(SPEC, scripts, kinds=KINDS)
    assert run.text == "4"
    assert run.trace.notes == {"unchecked": "broken"}
