from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from common.ensemble_section import BudgetConfig
from common.ensembles_judged import BestOfConfig, CheckConfig
from common.errors import BadRequestError, DeadlineError, EngineError, NoAnswerPassedError
from router.ensembles.ask import Member, Request
from router.ensembles.best_of import best_of
from router.ensembles.checks.check import Finding
from tests.router.ensembles.flaky import QUESTION, Ended, Script, played

BROKEN = Script(error=EngineError("broken"))
CHECK = CheckConfig(unit="km")  # looks at the text alone, so it runs on the clock that jumps
CHECKED = BestOfConfig(members=("a",), samples=4, check=CHECK)
JUDGED = BestOfConfig(members=("a", "b", "c"), judge="judge")


@dataclass
class SlowCheck:
    """Answers with "good" in them pass, after a while."""

    takes_s: float = 1.0
    refuses: bool = False
    seen: list[str] = field(default_factory=list)

    async def ready(self) -> None:
        if self.refuses:
            raise BadRequestError("cannot shut code in")

    async def of(self, answer: str) -> Finding:
        self.seen.append(answer)
        await asyncio.sleep(self.takes_s)
        if "good" in answer:
            return Finding({}, 1.0)
        return Finding({"tests": "AssertionError"}, 0.5 if "fair" in answer else 0.0)


def best(spec: BestOfConfig = CHECKED, check: SlowCheck | None = None, **keys: Any) -> Ended:
    scripts = {key: keys.pop(key) for key in ("a", "b", "c", "judge") if key in keys}
    kind = partial(best_of, check_of=lambda _: check) if check else best_of
    return played(spec, scripts, kinds={"best_of": kind}, **keys)


def test_the_first_answer_that_passes_ends_it() -> None:
    run = best(a=Script(["far", "3 km", "4 km", "5 km"], delay_s=4, one_by_one=True))
    assert run.text == "3 km"
    assert run.took_s == pytest.approx(2)
    assert run.house.cancelled == ["a"]
    assert run.outcome is not None
    assert run.outcome.confidence == 1.0
    assert [each["passed"] for each in run.trace.notes["checked"]] == [False, True]


def test_samples_of_one_model_are_one_request() -> None:
    run = best(a=Script(["1", "2", "3", "4 km"]))
    assert run.text == "4 km"
    ((_, request),) = run.house.asked
    assert (request.samples, request.fields["temperature"]) == (4, 0.7)


def test_the_whole_answer_is_returned_though_thoughts_are_not_checked() -> None:
    run = best(a=Script(["<think>5 km?</think>no", "<think>x</think>4 km"]))
    assert run.text == "<think>x</think>4 km"


def test_members_are_cancelled_once_one_passes() -> None:
    spec = BestOfConfig(members=("a", "b", "c"), check=CHECK)
    run = best(spec, a=Script(["no"]), b=Script(["2 km"], delay_s=2), c=Script(delay_s=9))
    assert (run.model, run.took_s) == ("b", pytest.approx(2))
    assert run.house.cancelled == ["c"]


def test_none_passes_and_the_closest_is_returned() -> None:
    spec = BestOfConfig(members=("a", "b", "c"), check=CheckConfig(unit="km", language="en"))
    scripts = {"a": Script(["모릅니다"]), "b": Script(["no idea"]), "c": Script(["none"])}
    run = best(spec, **scripts)
    assert run.model == "b"
    assert run.trace.notes["none_passed"] is True
    assert run.outcome is not None
    assert run.outcome.confidence == 0.0
    known = best(spec, **scripts, roster={"c": Member("c", 0.9)})
    assert known.model == "c"
    told = run.trace.notes["checked"][0]
    assert told["member"] == "a"
    assert set(told["complaints"]) == {"unit", "language"}


def test_none_passes_and_that_is_an_error() -> None:
    spec = CHECKED.model_copy(update={"none_passes": "fail"})
    run = best(spec, a=Script(["no"]))
    assert isinstance(run.error, NoAnswerPassedError)
    assert (run.error.status, run.error.trigger) == (502, None)
    assert "none of 4 answers passes the check: unit: no number with" in str(run.error)


def test_members_that_fail_or_are_empty_are_no_answers() -> None:
    spec = BestOfConfig(members=("a", "b", "c"), check=CHECK)
    run = best(spec, a=BROKEN, b=Script([""]), c=Script(["1 km"]))
    assert run.text == "1 km"
    failed = best(spec, a=BROKEN, b=BROKEN, c=BROKEN)
    assert "0 of 3 answers" in str(failed.error)
    strict = best(spec.model_copy(update={"on_error": "fail"}), a=BROKEN, b=Script(), c=Script())
    assert strict.error is BROKEN.error


def test_answers_go_on_coming_while_one_is_checked() -> None:
    spec = BestOfConfig(members=("a", "b"), check=CHECK)
    check = SlowCheck(takes_s=3)
    run = best(spec, check, a=Script(["bad"]), b=Script(["good"], delay_s=2))
    assert (run.text, run.took_s) == ("good", pytest.approx(1 + 3 + 3))
    assert check.seen == ["bad", "good"]


def test_a_check_does_not_go_past_the_deadline() -> None:
    spec = CHECKED.model_copy(update={"deadline_s": 2.5})
    run = best(spec, SlowCheck(takes_s=1), a=Script(["bad", "good"]))
    assert run.took_s == pytest.approx(2.5)
    assert run.outcome is not None
    assert run.trace.notes["none_passed"] is True
    told = run.trace.notes["checked"]
    assert told[1]["complaints"] == {"deadline": "no time was left to check it"}
    strict = spec.model_copy(update={"none_passes": "fail"})
    assert isinstance(best(strict, SlowCheck(9), a=Script()).error, NoAnswerPassedError)
    assert isinstance(best(spec, SlowCheck(), a=Script(hangs=True)).error, DeadlineError)


def test_nobody_is_asked_where_the_check_cannot_be_made() -> None:
    run = best(check=SlowCheck(refuses=True), a=Script())
    assert isinstance(run.error, BadRequestError)
    assert run.house.asked == []


def test_tools_are_refused() -> None:
    request = Request(QUESTION.messages, {"tools": [{"type": "function"}]})
    assert isinstance(best(a=Script(), request=request).error, BadRequestError)


@pytest.mark.parametrize("after_s", [0.5, 1.5])
def test_a_client_that_hangs_up(after_s: float) -> None:
    """While members answer, and while an answer is checked."""
    check = SlowCheck(takes_s=1)
    run = best(check=check, a=Script(["bad"]), hang_up_after_s=after_s)
    assert run.outcome is None
    assert run.house.cancelled == (["a"] if after_s < 1 else [])
    assert len(check.seen) == (after_s > 1)


# With a judge.


def judge(*digits: str) -> Script:
    return Script(digits)


def test_a_win_counts_in_both_orders_only() -> None:
    scripts = {"a": Script(["x"]), "b": Script(["y"]), "c": Script(["z"])}
    beaten = best(JUDGED, **scripts, judge=judge("1", "2"))  # the rival, wherever it stands
    assert beaten.model == "c"
    for told in (("1", "1"), ("2", "2"), ("2", "1"), ("0", "0"), ("1", "0"), ("well", "2")):
        assert best(JUDGED, **scripts, judge=judge(*told)).model == "a"
    assert beaten.trace.notes["compared"] == [
        {"member": "b", "against": "a", "won": True},
        {"member": "c", "against": "b", "won": True},
    ]
    assert beaten.trace.requests == JUDGED.requests == 3 + 4
    assert beaten.took_s == pytest.approx(3)


def test_the_judge_reads_both_orders_and_no_names() -> None:
    spec = BestOfConfig(members=("a", "b"), judge="judge")
    run = best(spec, a=Script(["first text"]), b=Script(["second text"]), judge=judge("0"))
    one, other = (r.messages[-1]["content"] for m, r in run.house.asked if m == "judge")
    assert one.index("second text") < one.index("first text")
    assert other.index("first text") < other.index("second text")
    (asked,) = {r.max_tokens for m, r in run.house.asked if m == "judge"}
    assert asked == 512  # and not the client's


def test_the_best_known_starts_and_judges_by_default() -> None:
    spec = BestOfConfig(members=("a", "b"))
    scripts = {"a": Script(["x"]), "b": Script(["y", "0"])}
    run = best(spec, **scripts, roster={"b": Member("b", 0.9), "a": Member("a", 0.1)})
    assert run.model == "b"
    assert [model for model, _ in run.house.asked] == ["a", "b", "b", "b"]


@pytest.mark.parametrize("bad", [BROKEN, Script([""]), Script(hangs=True)])
def test_a_judge_that_fails_leaves_the_best_known(bad: Script) -> None:
    scripts = {"a": Script(["x"]), "b": Script(["y"]), "c": Script(["z"]), "judge": bad}
    run = best(JUDGED.model_copy(update={"deadline_s": 9.0}), **scripts)
    assert run.model == "a"
    assert run.trace.notes["not_judged"]
    assert len([m for m, _ in run.house.asked if m == "judge"]) == 2  # it is not asked again
    strict = JUDGED.model_copy(update={"on_error": "fail"})
    if bad is BROKEN:
        assert best(strict, **scripts).error is BROKEN.error


def test_a_member_that_hangs_leaves_time_to_judge() -> None:
    spec = JUDGED.model_copy(update={"deadline_s": 10.0})
    run = best(spec, a=Script(["x"]), b=Script(["y"]), c=Script(hangs=True), judge=judge("1", "2"))
    assert (run.model, run.took_s) == ("b", pytest.approx(6))


def test_a_budget_without_room_for_a_verdict() -> None:
    spec = JUDGED.model_copy(update={"budget": BudgetConfig(requests=4)})
    run = best(spec, a=Script(["x"]), b=Script(["y"]), c=Script(["z"]), judge=judge("1", "2"))
    assert run.model == "a"
    assert "nothing left for judge" in run.trace.notes["not_judged"]


def test_the_only_answer_is_not_compared() -> None:
    run = best(JUDGED, a=BROKEN, b=Script(["y"]), c=Script([""]), judge=judge("1", "2"))
    assert (run.model, run.trace.notes["compared"]) == ("b", [])


def test_a_client_that_hangs_up_on_the_judge() -> None:
    scripts = {"a": Script(["x"]), "b": Script(["y"]), "c": Script(["z"]), "judge": judge("1")}
    run = best(JUDGED, **scripts, hang_up_after_s=1.5)
    assert run.house.cancelled == ["judge", "judge"]
