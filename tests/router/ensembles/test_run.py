from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from common.ensemble_section import BudgetConfig
from common.ensembles_config import CompareConfig, VoteConfig
from common.errors import (
    BadRequestError,
    ContextTooLongError,
    DeadlineError,
    EngineError,
    EngineTimeoutError,
    UnavailableError,
)
from router.ensembles.ask import Answer, Choice, Member, Meter, Request
from router.ensembles.kinds import execute
from router.ensembles.panel import Call
from router.ensembles.recipe import Recipe
from router.ensembles.run import Outcome, Run, turns
from tests.router.ensembles.flaky import QUESTION, Script, ended, on_loop, played

THREE = CompareConfig(members=("a", "b", "c"))
WELL, LATE, NEVER = Script(), Script(delay_s=500), Script(hangs=True)
BROKEN = Script(error=EngineError("broken"))


def test_members_answer_at_the_same_time_and_progress_is_told() -> None:
    run = played(THREE, {"a": Script(delay_s=3), "b": Script(delay_s=1), "c": Script(delay_s=2)})
    assert run.took_s == pytest.approx(3)
    assert run.house.most_running == 3
    assert run.progress == [("panel", n, 3) for n in range(4)]
    assert run.outcome is not None
    assert [voice.member.model for voice in run.outcome.voices] == ["a", "b", "c"]


def test_members_of_one_turn_answer_one_after_the_other() -> None:
    roster = {"a": Member("a", turn="gpu0"), "c": Member("c", turn="gpu0")}
    run = played(THREE, dict.fromkeys("abc", WELL), roster=roster)
    assert run.took_s == pytest.approx(2)
    assert run.house.most_running == 2
    began = {call.member: call.began_s for call in run.trace.calls}
    assert (began["a"], began["b"], began["c"]) == pytest.approx((0, 0, 1))


def test_turns() -> None:
    members = [Member("a", turn="x"), Member("b"), Member("c", turn="x"), Member("d")]
    assert turns([Call(member, QUESTION) for member in members]) == [[0, 2], [1], [3]]


def test_first_of_many_are_enough_and_the_rest_is_cancelled_at_once() -> None:
    spec = replace_spec(THREE, first=2)
    run = played(spec, {"a": Script(delay_s=100), "b": Script(delay_s=1), "c": Script(delay_s=2)})
    assert run.took_s == pytest.approx(2)
    assert run.house.cancelled == ["a"]
    assert run.fates() == {"a": "cancelled", "b": "answered", "c": "answered"}
    assert run.trace.wasted_tokens == run.trace.output_tokens - 20 == 0


def test_what_a_cancelled_member_had_generated_is_wasted() -> None:
    run = played(replace_spec(THREE, first=2), {"a": Script(delay_s=4), "b": WELL, "c": WELL})
    assert run.trace.wasted_tokens == 2
    assert run.trace.output_tokens == run.house.generated == 22


def test_soft_deadline_is_enough_for_a_quorum() -> None:
    spec = replace_spec(THREE, quorum=2, soft_deadline_s=5)
    run = played(spec, {"a": WELL, "b": WELL, "c": NEVER})
    assert run.took_s == pytest.approx(5)
    assert run.outcome is not None
    assert len(run.outcome.voices) == 2


def test_without_a_quorum_the_soft_deadline_means_nothing() -> None:
    spec = replace_spec(THREE, quorum=2, soft_deadline_s=5, deadline_s=20)
    late = played(spec, {"a": WELL, "b": Script(delay_s=8), "c": NEVER})
    assert late.took_s == pytest.approx(8)
    assert late.outcome is not None


def test_hard_deadline() -> None:
    spec = replace_spec(THREE, quorum=2, deadline_s=20)
    run = played(spec, {"a": WELL, "b": LATE, "c": NEVER})
    assert run.took_s == pytest.approx(20)
    assert isinstance(run.error, DeadlineError)
    assert "1 of 3 answers after 20 s, and it needs 2" in str(run.error)
    assert run.fates() == {"a": "answered", "b": "late", "c": "late"}
    enough = played(replace_spec(spec, quorum=1), {"a": WELL, "b": LATE, "c": NEVER})
    assert enough.took_s == pytest.approx(20)
    assert enough.outcome is not None
    assert len(enough.outcome.voices) == 1


def test_a_quorum_that_cannot_be_reached_is_not_waited_for() -> None:
    run = played(replace_spec(THREE, quorum=3), {"a": BROKEN, "b": LATE, "c": LATE})
    assert run.took_s == pytest.approx(1)
    assert isinstance(run.error, EngineError)


def test_on_error() -> None:
    scripts = {"a": WELL, "b": BROKEN, "c": Script(delay_s=9)}
    skipping = played(THREE, scripts)
    assert skipping.outcome is not None
    assert skipping.fates() == {"a": "answered", "b": "failed", "c": "answered"}
    failing = played(replace_spec(THREE, on_error="fail"), scripts)
    assert failing.error is BROKEN.error
    assert failing.took_s == pytest.approx(1)
    assert failing.house.cancelled == ["c"]


def test_all_fail() -> None:
    run = played(THREE, dict.fromkeys("abc", BROKEN))
    assert isinstance(run.error, EngineError)
    assert "0 of 3 answers, and it needs 1: a: broken; b: broken; c: broken" in str(run.error)
    silent = played(THREE, dict.fromkeys("abc", Script(error=TimeoutError())))
    assert [call.error for call in silent.trace.calls] == [f"{m}: no answer in time" for m in "abc"]


def test_a_request_that_is_at_fault_is_told_as_such() -> None:
    fault = BadRequestError("messages: missing")
    run = played(THREE, {"a": BROKEN, "b": Script(error=fault), "c": BROKEN})
    assert run.error is fault


def test_the_only_failure_is_told_as_it_is() -> None:
    spec = VoteConfig(members=("a",), samples=3)
    for error in (ContextTooLongError("too long"), UnavailableError("gone", retry_after_s=3)):
        assert played(spec, {"a": Script(error=error)}).error is error
    assert isinstance(played(spec, {"a": Script(error=TimeoutError())}).error, EngineTimeoutError)


def test_empty_answers_do_not_count() -> None:
    run = played(replace_spec(THREE, quorum=2), {"a": WELL, "b": Script([" "]), "c": Script([])})
    assert "1 of 3 answers, and it needs 2: the others were empty" in str(run.error)
    assert run.fates() == {"a": "answered", "b": "empty", "c": "empty"}
    assert run.trace.wasted_tokens == 20


@pytest.mark.parametrize("after_s", [0, 0.5, 1.5, 2.5])
def test_a_client_that_hangs_up_cancels_everything(after_s: float) -> None:
    scripts = {"a": Script(delay_s=1), "b": Script(delay_s=2), "c": Script(delay_s=3)}
    run = played(THREE, scripts, hang_up_after_s=after_s)
    assert run.outcome is None
    assert run.took_s == pytest.approx(after_s)
    assert len(run.house.cancelled) == len(run.house.asked) - int(after_s)


def test_a_fault_of_an_ask_comes_out_as_it_is_and_leaves_nothing() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await ended(THREE, {"a": Script(error=ZeroDivisionError()), "b": LATE, "c": NEVER})
        assert asyncio.all_tasks() == {asyncio.current_task()}

    on_loop(main)


def test_an_answer_that_comes_despite_its_cancellation_is_wasted() -> None:
    async def stubborn(member: Member, request: Request, meter: Meter) -> Answer:
        try:
            await asyncio.sleep(1 if member.model == "a" else 9)
        except asyncio.CancelledError:
            meter.heard(5)
        return Answer((Choice("4"),), None)

    async def main() -> None:
        run = Run(Recipe("test", replace_spec(THREE, first=1)), stubborn)
        outcome = await execute(run, QUESTION)
        assert [voice.member.model for voice in outcome.voices] == ["a"]
        assert [call.fate for call in run.trace().calls] == ["answered", "cancelled", "cancelled"]
        assert run.trace().wasted_tokens == 10

    on_loop(main)


def test_tokens_are_shared_out_and_never_exceeded() -> None:
    spec = replace_spec(THREE, budget=BudgetConfig(tokens=120))
    run = played(spec, dict.fromkeys("abc", Script(tokens=500)))
    assert [request.max_tokens for _, request in run.house.asked] == [30, 30, 30]
    assert run.spent == 120


def test_a_member_that_goes_past_its_share_is_cut_off() -> None:
    spec = replace_spec(THREE, budget=BudgetConfig(tokens=120))
    greedy = Script(tokens=500, keeps_limit=False)
    run = played(spec, {"a": greedy, "b": WELL, "c": WELL})
    assert run.fates() == {"a": "failed", "b": "answered", "c": "answered"}
    assert run.spent <= 120 + 1  # the token that told


def test_a_budget_of_requests() -> None:
    run = played(replace_spec(THREE, budget=BudgetConfig(requests=2)), dict.fromkeys("abc", WELL))
    assert run.fates() == {"a": "answered", "b": "answered", "c": "unaffordable"}
    assert run.trace.requests == 2
    none = played(replace_spec(THREE, budget=BudgetConfig(tokens=5)), dict.fromkeys("abc", WELL))
    assert isinstance(none.error, BadRequestError)
    assert "budget has nothing left for a" in str(none.error)
    assert none.house.asked == []


def test_usage_is_the_sum() -> None:
    run = played(THREE, dict.fromkeys("abc", WELL))
    assert (run.trace.prompt_tokens, run.trace.output_tokens) == (30, 30)
    assert run.spent == 60
    assert run.trace.cost_usd is None


def test_a_kind_that_waits_for_something_else_is_ended_too() -> None:
    async def stuck(run: Run, request: Request) -> Outcome:
        await run.one(run.members[0], request, phase="first")
        await asyncio.sleep(1e9)
        raise AssertionError

    run = played(replace_spec(THREE, deadline_s=20), {"a": WELL}, kinds={"compare": stuck})
    assert isinstance(run.error, DeadlineError)
    assert run.took_s == pytest.approx(21)


def test_after_the_deadline_nobody_is_asked() -> None:
    async def slow(run: Run, request: Request) -> Outcome:
        await asyncio.sleep(20)
        return Outcome((await run.one(run.members[0], request, phase="first"),))

    run = played(replace_spec(THREE, deadline_s=20), {"a": WELL}, kinds={"compare": slow})
    assert isinstance(run.error, DeadlineError)
    assert run.house.asked == []


def test_only_what_is_said_may_go_to_the_client() -> None:
    async def two(run: Run, request: Request) -> Outcome:
        await run.one(run.members[0], request, phase="draft")
        assert not run.is_spoken
        voice = await run.say(run.members[1], request, phase="final")
        assert run.is_spoken
        return Outcome((voice,))

    run = played(THREE, {"a": Script(says=True), "b": Script(says=True)}, kinds={"compare": two})
    assert run.house.finals == ["b"]


def test_a_request_is_a_chat_completions_body() -> None:
    body = {
        "model": "ensemble:vote",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
            {"role": "assistant", "content": "Ho"},
        ],
        "max_completion_tokens": 5,
        "temperature": 0.2,
        "stream": True,
        "n": 3,
        "routing": {"ensemble": "x"},
    }
    request = Request.of(body)
    assert request.question == "Hi"
    assert request.prompt_tokens == 4 // 3 + 2 * 8
    assert request.body("m", stream=False) == {
        "model": "m",
        "messages": body["messages"],
        "max_completion_tokens": 5,
        "temperature": 0.2,
    }
    more = replace(request.sampled(4, 0.7), logprobs=True, max_tokens=9).body("m", stream=True)
    assert more["temperature"] == 0.2  # the client's own
    assert (more["n"], more["max_completion_tokens"], more["top_logprobs"]) == (4, 9, 2)
    assert more["stream_options"] == {"include_usage": True}
    assert Request.of({"messages": []}).sampled(2, 0.7).fields == {"temperature": 0.7}
    judge = request.saying([{"role": "user", "content": "Judge"}], temperature=None)
    assert judge.body("m", stream=False)["messages"] == [{"role": "user", "content": "Judge"}]
    assert "temperature" not in judge.fields


def test_choices_that_are_whole_count_though_the_call_fails() -> None:
    script = Script(["7", "7", "8"], error=EngineError("broken"), one_by_one=True)
    spec = VoteConfig(members=("a",), samples=3)
    run = played(spec, {"a": script})
    assert run.text == "7"
    assert run.fates() == {"a": "cancelled"}  # settled by two of three, before it fails
    torn = Script(["7", "8"], error=EngineError("broken"), one_by_one=True)
    split = played(VoteConfig(members=("a",), samples=2), {"a": torn})
    assert split.text == "7"
    assert split.fates() == {"a": "failed"}


def replace_spec(spec: CompareConfig, **changes: object) -> CompareConfig:
    return spec.model_copy(update=changes)
