from __future__ import annotations

from typing import Any

import pytest

from common.ensembles_config import VoteConfig
from common.errors import DeadlineError, EngineError
from router.ensembles.ask import Member, Request
from tests.router.ensembles.flaky import QUESTION, Script, played


def five(**keys: Any) -> VoteConfig:
    return VoteConfig(members=("a",), samples=5, **keys)


def test_samples_of_one_model_are_one_request() -> None:
    run = played(five(), {"a": Script(["18", "20", "18", "17", "18"])})
    assert run.text == "18"
    ((_, request),) = run.house.asked
    assert request.samples == 5
    assert request.fields["temperature"] == 0.7
    assert run.outcome is not None
    assert run.outcome.confidence == pytest.approx(0.6)
    assert run.trace.votes == {"18": 3.0, "20": 1.0, "17": 1.0}
    assert run.trace.prompt_tokens == 10


def test_the_clients_temperature_stays() -> None:
    request = Request(QUESTION.messages, {"temperature": 0.3})
    run = played(five(), {"a": Script()}, request)
    assert run.house.asked[0][1].fields["temperature"] == 0.3


def test_the_whole_text_of_a_voter_is_the_answer() -> None:
    texts = ["It is 3.", "So the answer is 1,000.", "정답은 1천입니다."]
    run = played(VoteConfig(members=("a",), samples=3), {"a": Script(texts)})
    assert run.text == "So the answer is 1,000."


def test_the_rest_is_cancelled_once_the_leader_cannot_be_overtaken() -> None:
    script = Script(["18"], delay_s=5, one_by_one=True)
    run = played(five(), {"a": script})
    assert run.took_s == pytest.approx(3)
    assert run.house.cancelled == ["a"]
    assert run.trace.output_tokens == 30


def test_members_of_several_models_are_cancelled_too() -> None:
    members = ("a", "b", "c", "d", "e")
    scripts = {m: Script(delay_s=i + 1) for i, m in enumerate(members)}
    run = played(VoteConfig(members=members), scripts)
    assert run.took_s == pytest.approx(3)
    assert sorted(run.house.cancelled) == ["d", "e"]


def test_a_vote_that_is_open_waits_for_all() -> None:
    scripts = {m: Script([m], delay_s=i + 1) for i, m in enumerate("123")}
    run = played(VoteConfig(members=("1", "2", "3")), scripts)
    assert run.took_s == pytest.approx(3)
    assert run.text == "1"  # a tie, and no records: the first that is named


def test_adaptive_asks_only_for_what_settles_it() -> None:
    run = played(five(adaptive=True), {"a": Script(["18"])})
    assert [request.samples for _, request in run.house.asked] == [3]
    assert run.text == "18"
    open_vote = played(five(adaptive=True), {"a": Script(["18", "20", "18", "18", "7"])})
    assert [request.samples for _, request in open_vote.house.asked] == [3, 1]
    assert all(request.fields == {"temperature": 0.7} for _, request in open_vote.house.asked)
    worst = played(five(adaptive=True), {"a": Script(["1", "2", "3", "4", "5"])})
    assert sum(request.samples for _, request in worst.house.asked) == 5


def test_adaptive_with_a_failing_round_keeps_what_it_has() -> None:
    spec = VoteConfig(members=("a",), samples=4, adaptive=True, deadline_s=1.5)
    run = played(spec, {"a": Script(["1", "2"])})
    assert run.took_s == pytest.approx(1.5)
    assert run.text == "1"
    nothing = played(spec, {"a": Script(delay_s=9)})
    assert isinstance(nothing.error, DeadlineError)


def test_adaptive_quorum() -> None:
    spec = VoteConfig(members=("a",), samples=4, adaptive=True, quorum=4)
    run = played(spec, {"a": Script(["18"])})
    assert sum(request.samples for _, request in run.house.asked) == 4
    empty = played(spec, {"a": Script(["18", "18", "", "18"])})
    assert "3 of 4 answers, and it needs 4" in str(empty.error)


def test_a_record_outweighs_two_worse_members() -> None:
    spec = VoteConfig(members=("a", "b", "c"), extract="choice")
    scripts = {"a": Script(["A"]), "b": Script(["B"]), "c": Script(["B"])}
    roster = {"a": Member("a", 0.95), "b": Member("b", 0.4), "c": Member("c", 0.4)}
    assert played(spec, scripts, roster=roster).text == "A"
    assert played(spec, scripts).text == "B"
    equal = spec.model_copy(update={"weights": "equal"})
    assert played(equal, scripts, roster=roster).text == "B"


def test_a_tie_goes_to_the_best_record() -> None:
    spec = VoteConfig(members=("a", "b"), weights="equal")
    roster = {"a": Member("a", 0.3), "b": Member("b", 0.9)}
    assert played(spec, {"a": Script(["1"]), "b": Script(["2"])}, roster=roster).text == "2"


def test_what_says_nothing_comparable_abstains() -> None:
    spec = VoteConfig(members=("a", "b", "c"), extract="number")
    scripts = {"a": Script(["none"]), "b": Script(["none"]), "c": Script(["7"])}
    run = played(spec, scripts)
    assert run.text == "7"
    assert run.outcome is not None
    assert run.outcome.confidence == pytest.approx(1 / 3)
    silent = played(spec, dict.fromkeys("abc", Script(["none"])))
    assert silent.text == "none"
    assert silent.outcome is not None
    assert silent.outcome.confidence == 0.0


def test_an_answer_that_was_cut_off_does_not_vote() -> None:
    spec = VoteConfig(members=("a", "b", "c"))
    scripts = {"a": Script(["so 3"], cut=True), "b": Script(["so 3"], cut=True), "c": Script(["4"])}
    assert played(spec, scripts).text == "4"


def test_a_member_that_fails_or_is_empty_is_left_out() -> None:
    spec = VoteConfig(members=("a", "b", "c"))
    scripts = {"a": Script(error=EngineError("x")), "b": Script([""]), "c": Script(["4"])}
    run = played(spec, scripts)
    assert run.text == "4"
    assert run.outcome is not None
    assert run.outcome.confidence == pytest.approx(1 / 3)
