from __future__ import annotations

from typing import Any

import pytest

from common.ensembles_config import CascadeConfig
from common.errors import DeadlineError, EngineError, OutOfMemoryError
from router.ensembles.ask import Token
from tests.router.ensembles.flaky import QUESTION, Script, played

SURE, UNSURE = (Token(-0.01, -6.0),) * 3, (Token(-0.6, -0.9),) * 3
BROKEN = Script(error=EngineError("broken"))


def of(*members: str, **keys: Any) -> CascadeConfig:
    return CascadeConfig(members=members, **keys)


SMALL_TO_HUGE = of("small", "medium", "huge")


def test_agreement_returns_the_cheaper_answer() -> None:
    run = played(SMALL_TO_HUGE, {"small": Script(["It is 4"]), "medium": Script(["The answer: 4"])})
    assert (run.model, run.text) == ("small", "It is 4")
    assert run.trace.escalations == ()
    assert run.took_s == pytest.approx(1)
    assert run.house.finals == []


def test_disagreement_asks_the_larger_model() -> None:
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "huge": Script(["6"])}
    run = played(SMALL_TO_HUGE, scripts)
    assert run.model == "huge"
    assert run.trace.escalations == ("huge: no agreement",)
    assert run.house.finals == ["huge"]


def test_a_middle_model_that_sides_with_one_ends_it() -> None:
    spec = of("small", "medium", "large", "huge")
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "large": Script(["5"])}
    run = played(spec, scripts)
    assert run.model == "large"
    assert run.house.finals == []
    apart = played(spec, {**scripts, "large": Script(["6"]), "huge": Script(["7"])})
    assert apart.model == "huge"
    assert apart.trace.escalations == ("large: no agreement", "huge: no agreement")


def test_one_small_model_must_agree_with_itself() -> None:
    spec = of("small", "huge")
    sure = played(spec, {"small": Script(["4"])})
    assert sure.model == "small"
    assert [request.samples for _, request in sure.house.asked] == [3]
    unsure = played(spec, {"small": Script(["4", "4", "5"]), "huge": Script(["4"])})
    assert unsure.model == "huge"


def test_it_escalates_as_soon_as_they_cannot_agree() -> None:
    scripts = {
        "small": Script(["4", "5", "6"], delay_s=9, one_by_one=True),
        "huge": Script(["4"], delay_s=1),
    }
    run = played(of("small", "huge"), scripts)
    assert run.took_s == pytest.approx(3 + 3 + 1)
    assert run.house.cancelled == ["small"]


@pytest.mark.parametrize(
    ("confidence", "threshold", "logprobs", "model"),
    [
        ("margin", 2.0, SURE, "small"),
        ("margin", 2.0, UNSURE, "huge"),
        ("margin", 2.0, (), "huge"),  # not known is not sure
        ("mean_logprob", -0.1, SURE, "small"),
        ("mean_logprob", -0.1, UNSURE, "huge"),
    ],
)
def test_low_confidence_escalates(
    confidence: Any, threshold: float, logprobs: tuple[Token, ...], model: str
) -> None:
    spec = of("small", "huge", confidence=confidence, threshold=threshold)
    run = played(spec, {"small": Script(logprobs=logprobs), "huge": Script()})
    assert run.model == model
    first = run.house.asked[0][1]
    assert (first.samples, first.logprobs) == (1, True)


@pytest.mark.parametrize(
    ("told", "model"),
    [
        ("Yes.", "small"),
        ("네, 맞습니다", "small"),
        ("No", "huge"),
        ("아니요", "huge"),
        ("?", "huge"),
    ],
)
def test_self_check(told: str, model: str) -> None:
    spec = of("small", "huge", confidence="self_check")
    run = played(spec, {"small": Script(["4", told]), "huge": Script(["6"])})
    assert run.model == model
    (_, check) = run.house.asked[1]
    assert check.max_tokens == 8
    assert [m["role"] for m in check.messages] == ["user", "assistant", "user"]
    assert check.messages[0] == QUESTION.messages[0]


def test_a_self_check_that_fails_is_no_yes() -> None:
    spec = of("small", "huge", confidence="self_check", deadline_s=1.5)
    run = played(spec, {"small": Script(["4"]), "huge": Script(["6"])})
    assert run.model == "small"  # the check took all the time that was left
    assert run.trace.notes["stands_in"] == "small"
    assert run.took_s == pytest.approx(1.5)


def test_a_starter_that_fails_or_is_empty_does_not_agree() -> None:
    for bad in (BROKEN, Script([""])):
        run = played(SMALL_TO_HUGE, {"small": bad, "medium": Script(["5"]), "huge": Script(["6"])})
        assert run.model == "huge"


def test_the_largest_that_answered_stands_in_for_a_larger_one_that_fails() -> None:
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "huge": BROKEN}
    run = played(SMALL_TO_HUGE, scripts)
    assert run.model == "medium"
    assert run.trace.notes["stands_in"] == "medium"
    strict = played(SMALL_TO_HUGE.model_copy(update={"on_error": "fail"}), scripts)
    assert strict.error is BROKEN.error


def test_text_that_the_client_has_seen_is_not_replaced() -> None:
    broken = Script(error=EngineError("broken"), says=True)
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "huge": broken}
    assert played(SMALL_TO_HUGE, scripts).error is broken.error


def test_all_fail() -> None:
    huge = Script(error=OutOfMemoryError("no memory"))
    run = played(SMALL_TO_HUGE, {"small": BROKEN, "medium": BROKEN, "huge": huge})
    assert isinstance(run.error, EngineError)
    assert run.trace.escalations == ("huge: no answer",)
    assert run.error is huge.error


def test_a_slow_starter_is_given_up_at_the_soft_deadline() -> None:
    spec = SMALL_TO_HUGE.model_copy(update={"soft_deadline_s": 2.0})
    run = played(
        spec, {"small": Script(["4"]), "medium": Script(hangs=True), "huge": Script(["6"])}
    )
    assert run.model == "huge"
    assert run.took_s == pytest.approx(3)
    assert run.house.cancelled == ["medium"]


def test_at_the_deadline_the_largest_that_answered_is_taken() -> None:
    spec = SMALL_TO_HUGE.model_copy(update={"deadline_s": 2.0})
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "huge": Script(hangs=True)}
    run = played(spec, scripts)
    assert (run.model, run.took_s) == ("medium", pytest.approx(2))
    nobody = played(spec, dict.fromkeys(scripts, Script(hangs=True)))
    assert isinstance(nobody.error, DeadlineError)
    assert nobody.took_s == pytest.approx(2)


@pytest.mark.parametrize("after_s", [0.5, 1.5])
def test_a_client_that_hangs_up_in_either_phase(after_s: float) -> None:
    scripts = {"small": Script(["4"]), "medium": Script(["5"]), "huge": Script()}
    run = played(SMALL_TO_HUGE, scripts, hang_up_after_s=after_s)
    assert sorted(run.house.cancelled) == (["medium", "small"] if after_s < 1 else ["huge"])
