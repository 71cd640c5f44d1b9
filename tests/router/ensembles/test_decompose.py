from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from common.ensembles_steps import DecomposeConfig
from common.errors import BadRequestError, DeadlineError, EngineError
from router.ensembles import plans
from router.ensembles.ask import Member, Request
from router.ensembles.decompose import decompose
from tests.router.ensembles.flaky import QUESTION, Ended, Script, played

KINDS = {"decompose": decompose}
BROKEN = Script(error=EngineError("broken"))
TWO = json.dumps({"questions": ["How many in A?", "How many in B?"]})
ROLES = {"planner": "planner", "writer": "writer"}


def of(*members: str, **keys: Any) -> DecomposeConfig:
    spec = DecomposeConfig(members=members or ("a",), **ROLES | keys)
    assert spec.complaint() is None
    return spec


def run_of(
    spec: DecomposeConfig,
    plan: Script | Sequence[str],
    request: Request = QUESTION,
    writer: Script | None = None,
    *,
    roster: Any = None,
    hang_up_after_s: float | None = None,
    **members: Script,
) -> Ended:
    planner = plan if isinstance(plan, Script) else Script(plan)
    scripts = {"planner": planner, "writer": writer or Script(["7 in all"]), **members}
    return played(
        spec, scripts, request, kinds=KINDS, roster=roster, hang_up_after_s=hang_up_after_s
    )


def test_a_plan_its_answers_and_the_whole() -> None:
    run = run_of(of(), [TWO], a=Script(["3", "4"]))
    assert run.text == "7 in all"
    assert [call.phase for call in run.trace.calls] == ["plan", "question", "question", "synthesis"]
    assert run.took_s == pytest.approx(3)  # both sub-questions at once
    assert run.house.finals == ["writer"]
    (whole,) = (request for model, request in run.house.asked if model == "writer")
    told = whole.messages[-1]["content"]
    assert told.startswith("How many?\n\n")
    assert "1. How many in A?\nAnswer: 3\n\n2. How many in B?\nAnswer: 4" in told
    assert whole.max_tokens == QUESTION.max_tokens
    assert [each["answered"] for each in run.trace.notes["questions"]] == [True, True]


def test_each_sub_question_stands_alone_under_the_clients_system_prompt() -> None:
    system = {"role": "system", "content": "Be kind."}
    fields = {"response_format": {"type": "json_object"}, "stop": ["."], "temperature": 0.1}
    history = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"})
    request = Request((system, *history, *QUESTION.messages), fields, max_tokens=9)
    run = run_of(of(), [TWO], request, a=Script(["3"]))
    asked = [each for model, each in run.house.asked if model == "a"]
    assert [each.messages for each in asked] == [
        (system, {"role": "user", "content": "How many in A?"}),
        (system, {"role": "user", "content": "How many in B?"}),
    ]
    assert asked[0].fields == {"temperature": 0.1}
    assert asked[0].max_tokens == 1024
    whole = run.house.asked[-1][1]
    assert whole.fields == fields
    assert whole.messages[:3] == (system, *history)


def test_the_planner_is_asked_for_json_with_the_whole_conversation() -> None:
    run = run_of(of(max_questions=3), [TWO], a=Script(["3"]))
    plan = run.house.asked[0][1]
    assert "at most 3 smaller questions" in plan.messages[-1]["content"]
    assert plan.messages[-1]["content"].startswith("How many?")
    schema = plan.fields["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["questions"]["maxItems"] == 3


def test_members_take_turns_and_auto_gets_all() -> None:
    three = json.dumps({"questions": ["x", "y", "z"]})
    run = run_of(of("a", "b"), [three], a=Script(["1"]), b=Script(["2"]))
    assert [model for model, _ in run.house.asked[1:4]] == ["a", "b", "a"]
    auto = run_of(of("auto"), [three], auto=Script(["1"]))
    assert [model for model, _ in auto.house.asked[1:4]] == ["auto"] * 3


def test_without_names_the_best_member_plans_and_writes() -> None:
    spec = DecomposeConfig(members=("a", "b"))
    roster = {"a": Member("a", 0.4), "b": Member("b", 0.8)}
    scripts = {"a": Script(["3"]), "b": Script([TWO, "4", "7"])}
    run = played(spec, scripts, kinds=KINDS, roster=roster)
    assert [model for model, _ in run.house.asked] == ["b", "a", "b", "b"]


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (["I cannot"], "the plan could not be read"),
        (['{"questions": [1, 2]}'], "the plan could not be read"),
        (['{"questions": []}'], "nothing to split"),
        (['{"questions": ["only one", "only one"]}'], "nothing to split"),
        (['{"questions": ["...", "..."]}'], "nothing to split"),  # the form, repeated
        ([""], "the planner failed: ensemble 'test': 0 of 1"),
        (BROKEN, "the planner failed: broken"),
        (Script(error=TimeoutError()), "the planner failed: planner: no answer in time"),
    ],
)
def test_without_a_plan_the_writer_answers_directly(plan: Any, why: str) -> None:
    run = run_of(of(), plan)
    assert run.text == "7 in all"
    assert run.house.asked[-1] == ("writer", QUESTION)
    assert run.house.finals == ["writer"]
    assert why in run.trace.notes["undivided"]


def test_a_planner_that_refuses_json_is_asked_for_lines() -> None:
    plan = Script(error=BadRequestError("no response_format"))
    run = run_of(of(), plan)
    forms = ["response_format" in each.fields for model, each in run.house.asked[:2]]
    assert forms == [True, False]
    assert "at most 5" in run.house.asked[1][1].messages[-1]["content"]
    lines = run_of(of(), ["1. How many in A?\n2. How many in B?"], a=Script(["3"]))
    assert len(lines.house.asked) == 4


def test_no_more_questions_than_allowed() -> None:
    many = json.dumps({"questions": [f"q{i}" for i in range(9)]})
    run = run_of(of(max_questions=3), [many], a=Script(["1"]))
    assert len(run.house.asked) == 5
    assert run.trace.notes["questions_dropped"] == 6


def test_a_budget_makes_the_plan_smaller() -> None:
    many = json.dumps({"questions": [f"q{i}" for i in range(5)]})
    run = run_of(of(budget={"requests": 4}), [many], a=Script(["1"]))
    assert [model for model, _ in run.house.asked] == ["planner", "a", "a", "writer"]
    none = run_of(of(budget={"requests": 3}), [many])
    assert [model for model, _ in none.house.asked] == ["writer"]
    assert none.trace.notes["undivided"] == "the budget allows no plan"
    tokens = run_of(of(budget={"tokens": 1200}), [many], a=Script(["1"]))
    assert tokens.spent <= 1200


def test_sub_answers_that_are_missing_are_told_to_the_writer() -> None:
    run = run_of(of("a", "b"), [TWO], a=BROKEN, b=Script(["4"]))
    told = run.house.asked[-1][1].messages[-1]["content"]
    assert "1. How many in A?\nAnswer: (there is none)" in told
    assert "2. How many in B?\nAnswer: 4" in told
    assert [each["answered"] for each in run.trace.notes["questions"]] == [False, True]
    strict = run_of(of("a", "b", on_error="fail"), [TWO], a=BROKEN, b=Script(["4"]))
    assert strict.error is BROKEN.error


def test_without_any_sub_answer_there_is_none() -> None:
    run = run_of(of(), [TWO], a=BROKEN)
    assert isinstance(run.error, EngineError)
    assert "writer" not in run.fates()
    empty = run_of(of(), [TWO], a=Script([""]))
    assert "empty" in str(empty.error)
    quorum = run_of(of("a", "b", quorum=2), [TWO], a=BROKEN, b=Script(["4"]))
    assert quorum.error is not None


def test_a_member_that_hangs_is_given_up_at_the_soft_deadline() -> None:
    spec = of("a", "b", soft_deadline_s=3)
    run = run_of(spec, [TWO], a=Script(hangs=True), b=Script(["4"]))
    assert run.text == "7 in all"
    assert run.house.cancelled == ["a"]
    late = run_of(of("a", "b", deadline_s=4), [TWO], a=Script(hangs=True), b=Script(["4"]))
    assert isinstance(late.error, DeadlineError)  # no time is left to write
    assert late.took_s == pytest.approx(4)


def test_a_writer_that_fails_is_told() -> None:
    assert run_of(of(), [TWO], writer=BROKEN, a=Script(["3"])).error is BROKEN.error


@pytest.mark.parametrize(
    ("after_s", "who"), [(0.5, ["planner"]), (1.5, ["a", "a"]), (2.5, ["writer"])]
)
def test_a_client_that_hangs_up_in_any_phase(after_s: float, who: list[str]) -> None:
    run = run_of(of(), [TWO], a=Script(["3"]), hang_up_after_s=after_s)
    assert run.house.cancelled == who


def test_answers_are_cut_to_the_writers_context() -> None:
    roster = {"writer": Member("writer", context_tokens=2048)}
    run = run_of(of(), [TWO], roster=roster, a=Script(["3 " * 9000, "4"]))
    whole = run.house.asked[-1][1]
    assert whole.prompt_tokens + 100 <= 2048
    assert "Answer: 4" in whole.messages[-1]["content"]


def test_what_it_cannot_do_is_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    seen = Request(({"role": "user", "content": [{"type": "text", "text": "?"}, image]},))
    assert "takes text only" in str(run_of(of(), [TWO], seen).error)
    tools = Request(QUESTION.messages, {"tools": [{"type": "function"}]})
    assert "takes no tools" in str(run_of(of(), [TWO], tools).error)


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        (TWO, ("How many in A?", "How many in B?")),
        (f"Here:\n```json\n{TWO}\n```", ("How many in A?", "How many in B?")),
        (f"<think>1. no</think>{TWO}", ("How many in A?", "How many in B?")),
        ("1. 첫째는?\n2) 둘째는?", ("첫째는?", "둘째는?")),
        ("- one?\n* two?", ("one?", "two?")),
        ("None.", ()),
        ('{"questions": []}', ()),
        ('{"questions": ["a", " a "]}', ("a",)),
        ('{"questions": ["", "a"]}', None),
        ('{"questions": "a"}', None),
        ("No plan at all", None),
        ("", None),
    ],
)
def test_plans_are_read(text: str, questions: tuple[str, ...] | None) -> None:
    assert plans.read(text) == questions
