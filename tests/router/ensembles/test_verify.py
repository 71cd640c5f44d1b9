from __future__ import annotations

import json
from typing import Any

import pytest

from common.ensembles_steps import VerifyConfig
from common.errors import BadRequestError, DeadlineError, EngineError
from router.ensembles import criteria
from router.ensembles.ask import Member, Request
from router.ensembles.criteria import Finding
from router.ensembles.verify import verify
from tests.router.ensembles.flaky import QUESTION, Ended, Script, played

KINDS = {"verify": verify}
BROKEN = Script(error=EngineError("broken"))
CRITERIA = {"correct": "It is right.", "brief": "It is short."}


def told(correct: bool = True, brief: bool = True) -> str:
    found = {"correct": {"reason": "5 is wrong", "pass": correct}, "brief": {"pass": brief}}
    return json.dumps(found)


GOOD, WRONG = told(), told(correct=False)


def of(*members: str, **keys: Any) -> VerifyConfig:
    spec = VerifyConfig(members=members or ("writer", "checker"), **{"criteria": CRITERIA} | keys)
    assert spec.complaint() is None
    return spec


def run_of(
    spec: VerifyConfig, writer: Script, checker: Script, request: Request = QUESTION, **keys: Any
) -> Ended:
    scripts = {"writer": writer, "checker": checker}
    return played(spec, scripts, request, kinds=KINDS, **keys)


def confidence(run: Ended) -> float | None:
    assert run.outcome is not None, run.error
    return run.outcome.confidence


def test_what_passes_stands() -> None:
    run = run_of(of(), Script(["4"]), Script([GOOD]))
    assert run.text == "4"
    assert run.house.finals == []
    assert run.trace.notes["verdict"] == "passed"
    assert confidence(run) == 1.0


def test_the_checker_sees_the_question_and_the_answer_and_is_asked_for_json() -> None:
    request = Request(
        ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "2 + 2?"}),
        {"stop": ["\n"], "temperature": 1, "response_format": {"type": "text"}, "top_logprobs": 3},
        max_tokens=5,
        logprobs=True,
    )
    run = run_of(of(), Script(["<think>2, 3, 4</think>4"]), Script([GOOD]), request)
    asked = run.house.asked[1][1]
    assert asked.messages[:2] == request.messages
    assert asked.messages[2] == {"role": "assistant", "content": "4"}
    assert "- brief: It is short." in asked.messages[3]["content"]
    assert asked.fields["response_format"]["type"] == "json_schema"
    assert asked.fields["temperature"] == 0
    assert "stop" not in asked.fields
    assert asked.max_tokens == 1024  # the client's 5 are of the answer
    assert "top_logprobs" not in asked.body("checker", stream=False)


def test_what_does_not_pass_is_corrected_and_checked_again() -> None:
    run = run_of(of(), Script(["5", "4"]), Script([WRONG, GOOD]))
    assert run.text == "4"
    assert [call.phase for call in run.trace.calls] == ["answer", "check", "correction", "check"]
    assert run.house.finals == ["writer"]
    correction = run.house.asked[2][1]
    assert correction.messages[1] == {"role": "assistant", "content": "5"}
    assert "- correct: 5 is wrong" in correction.messages[2]["content"]
    assert "brief" not in correction.messages[2]["content"]
    assert correction.max_tokens == QUESTION.max_tokens
    assert run.trace.notes["verdict"] == "passed"
    assert [[f["passed"] for f in check] for check in run.trace.notes["checks"]] == [
        [False, True],
        [True, True],
    ]


def test_after_the_last_round_the_last_answer_stands_with_its_verdict() -> None:
    run = run_of(of(rounds=2), Script(["5", "6", "7", "8"]), Script([WRONG]))
    assert run.text == "7"
    assert len(run.house.asked) == 6
    assert run.house.finals == ["writer"]  # only of the last is it sure that it stays
    assert run.house.asked[4][0] == "writer"
    assert run.trace.notes["verdict"] == "failed"
    assert confidence(run) == 0.5


def test_a_single_member_checks_itself() -> None:
    run = played(of("a"), {"a": Script(["5", WRONG, "4", GOOD])}, kinds=KINDS)
    assert run.text == "4"


@pytest.mark.parametrize(
    ("checker", "why"),
    [
        (BROKEN, "broken"),
        (Script([""]), "the others were empty"),
        (Script(["Looks fine to me!"]), "do not speak to each criterion"),
        (Script(['{"correct": {"pass": true}}']), "do not speak to each criterion"),
        (Script(error=TimeoutError()), "no answer in time"),
        (Script(hangs=True), "0 of 1 answers after 9 s"),
    ],
)
def test_a_checker_that_fails_leaves_the_answer(checker: Script, why: str) -> None:
    run = run_of(of(deadline_s=9), Script(["5"]), checker)
    assert run.text == "5"
    assert run.trace.notes["verdict"] == "unchecked"
    assert why in run.trace.notes["unchecked"]
    assert confidence(run) is None


def test_on_error_fail_means_the_checker_too() -> None:
    run = run_of(of(on_error="fail"), Script(["5"]), BROKEN)
    assert run.error is BROKEN.error


def test_a_second_check_that_fails_leaves_the_correction() -> None:
    run = run_of(of(), Script(["5", "4"], says=True), Script([WRONG, "?"]))
    assert run.text == "4"
    assert run.trace.notes["verdict"] == "unchecked"
    assert len(run.trace.notes["checks"]) == 1


def test_a_correction_that_fails_leaves_the_answer_and_its_verdict() -> None:
    run = run_of(of(), Script(["5", ""]), Script([WRONG]))
    assert run.text == "5"
    assert run.trace.notes["verdict"] == "failed"
    assert "the others were empty" in run.trace.notes["uncorrected"]
    assert confidence(run) == 0.5


@pytest.mark.parametrize("says", [False, True])
def test_a_correction_that_is_late(says: bool) -> None:
    writer = Script(["5", "4"], delay_s=4, says=says)
    run = run_of(of(deadline_s=7), writer, Script([WRONG]))
    assert run.took_s == pytest.approx(7)
    if says:  # what the client reads already is not replaced by another text
        assert isinstance(run.error, DeadlineError)
    else:
        assert run.text == "5"


def test_no_answer_is_no_answer() -> None:
    assert run_of(of(), BROKEN, Script([GOOD])).error is BROKEN.error
    assert "empty" in str(run_of(of(), Script([""]), Script([GOOD])).error)
    late = run_of(of(deadline_s=3), Script(hangs=True), Script([GOOD]))
    assert isinstance(late.error, DeadlineError)
    assert late.took_s == pytest.approx(3)


def test_an_engine_that_refuses_json_is_asked_for_lines() -> None:
    lines = "correct: FAIL - 5 is wrong\nbrief: PASS"
    run = run_of(of(), Script(["5", "4"]), Script([lines]))
    assert run.text == "4"  # lines are read from who did not keep to JSON, too

    refusing = Script([GOOD], error=BadRequestError("no response_format"))
    refused = run_of(of(), Script(["5"]), refusing)
    assert [call.phase for call in refused.trace.calls] == ["answer", "check", "check"]
    forms = ["response_format" in request.fields for _, request in refused.house.asked]
    assert forms == [False, True, False]
    assert refused.trace.notes["verdict"] == "unchecked"


def test_a_budget_that_ends_before_the_check() -> None:
    spec = of(budget={"requests": 1})
    run = run_of(spec, Script(["5"]), Script([GOOD]))
    assert run.text == "5"
    assert "budget has nothing left for checker" in run.trace.notes["unchecked"]
    tokens = run_of(of(budget={"tokens": 60}), Script(["5"]), Script([GOOD]))
    assert tokens.spent <= 60


@pytest.mark.parametrize(
    ("after_s", "who"), [(0.5, "writer"), (1.5, "checker"), (2.5, "writer"), (3.5, "checker")]
)
def test_a_client_that_hangs_up_in_any_phase(after_s: float, who: str) -> None:
    run = run_of(of(), Script(["5", "4"]), Script([WRONG, GOOD]), hang_up_after_s=after_s)
    assert run.house.cancelled == [who]


def test_a_long_answer_is_cut_to_the_checkers_context() -> None:
    roster = {"checker": Member("checker", context_tokens=4096)}
    run = run_of(of(), Script(["5 " * 20_000]), Script([GOOD]), roster=roster)
    asked = run.house.asked[1][1]
    assert asked.prompt_tokens + 1024 <= 4096
    assert "[...]" in asked.messages[1]["content"]


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        (GOOD, [True, True]),
        (f"```json\n{WRONG}\n```", [False, True]),
        (f"<think>{WRONG}</think> So: {GOOD}", [True, True]),
        ("Sure {here}: " + GOOD, [True, True]),
        ("correct: PASS\nbrief: FAIL - too long", [True, False]),
        ("- **correct**: Pass - fine\n- **brief:** failed, too long", [True, False]),
        ("1. Correct - PASS\n2. Brief - PASS\nAll good.", [True, True]),
        ("correct: PASS", None),
        ("correct: PASS or FAIL\nbrief: PASS", None),
        ("correct: PASS\ncorrect: FAIL\nbrief: PASS", None),
        ('{"correct": {"pass": "yes"}, "brief": {"pass": true}}', None),
        ('{"correct": true, "brief": true}', None),
        ("PASS", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_it_is_read_strictly(text: str, passed: list[bool] | None) -> None:
    found = criteria.read(text, CRITERIA)
    assert (found and [finding.passed for finding in found]) == passed


def test_reasons() -> None:
    assert criteria.read("정확: FAIL - 틀렸어요", {"정확": "맞다"}) == (
        Finding("정확", False, "틀렸어요"),
    )
    assert "not met" in criteria.correction([Finding("brief", False)])


def test_config() -> None:
    assert "verify has two" in str(VerifyConfig(members=("a", "b", "c")).complaint())
    assert "first" in str(VerifyConfig(members=("a",), first=1).complaint())
    assert set(VerifyConfig().criteria) == {"correct", "complete"}
