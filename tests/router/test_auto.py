"""`model: auto` without a gateway: wishes, choices, and conversations that stay."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.errors import BadRequestError, UnavailableError
from common.quality_config import ConversationConfig
from router.auto import Auto, Wish, described, is_auto, names, needs_of, wish_of
from router.catalog.score import Score
from router.choice import Candidate
from router.classify import Conversation, Turn, classify, default_rules, of_text
from router.conversations import Marks
from router.feedback.learning import Learning

CODE = "Write a Python function that reverses a linked list, with type hints."
POEM = "Write a short poem about the first snow in Seoul."


def candidate(name: str, **quality: float) -> Candidate:
    scores = {task: Score(value, "config", "given") for task, value in quality.items()}
    return Candidate(name, {"general": Score(0.5, "config", "given"), **scores})


CODER = candidate("coder", code=0.95, creative=0.2)
POET = candidate("poet", code=0.2, creative=0.95)


def auto() -> Auto:
    return Auto(default_rules(), "quality", ConversationConfig())


def test_each_task_goes_to_the_model_that_is_good_at_it() -> None:
    router = auto()
    assert router.decide(of_text(CODE), Wish(), [CODER, POET]).model == "coder"
    assert router.decide(of_text(POEM), Wish(), [CODER, POET]).model == "poet"


def test_a_wish_is_stronger_than_what_the_text_says() -> None:
    decision = auto().decide(of_text(POEM), Wish(task="code"), [CODER, POET])
    assert (decision.model, decision.verdict.task) == ("coder", "code")
    assert decision.verdict.confidence == 1.0


def test_commit_it_stays_with_the_coder() -> None:
    router, marks = auto(), Marks(session="s-1")
    router.decide(of_text(CODE), Wish(), [CODER, POET], marks=marks, now=0)
    follow_up = Conversation("commit it", before=(Turn("user", CODE), Turn("assistant", "Done.")))
    decision = router.decide(follow_up, Wish(), [CODER, POET], marks=marks, now=10)
    assert decision.model == "coder"
    assert decision.choice.stays


def test_another_conversation_does_not_stay() -> None:
    router = auto()
    router.decide(of_text(CODE), Wish(), [CODER, POET], marks=Marks(session="a"), now=0)
    decision = router.decide(of_text(POEM), Wish(), [CODER, POET], marks=Marks(session="b"), now=1)
    assert decision.model == "poet"


def test_to_ask_is_not_to_remember() -> None:
    router, marks = auto(), Marks(session="s-1")
    router.decide(of_text(CODE), Wish(), [CODER, POET], marks=marks, only_ask=True)
    decision = router.decide(of_text("commit it"), Wish(), [CODER, POET], marks=marks)
    assert not decision.choice.stays


def test_nobody_who_can_is_503() -> None:
    with pytest.raises(UnavailableError, match="there is no model"):
        auto().decide(of_text(CODE), Wish(), [])


def test_a_request_without_text_has_an_answer_all_the_same() -> None:
    assert auto().decide(None, Wish(), [CODER]).model == "coder"


def test_images_tools_and_length_are_needs() -> None:
    said = Conversation("what is this?", has_images=True, has_tools=True, n_chars=700, max_tokens=9)
    needs = needs_of(said, classify(said, default_rules()))
    assert needs.modalities == {"text", "image"}
    assert needs.tools
    assert needs.output_tokens == 9
    assert needs.prompt_tokens == 200


def test_korean_has_more_tokens_a_letter() -> None:
    korean = Conversation("서울의 첫눈에 대한 시를 써줘", n_chars=300)
    assert needs_of(korean, classify(korean, default_rules())).prompt_tokens == 200


def test_a_decision_tells_everything() -> None:
    told = described(auto().decide(of_text(CODE), Wish(), [CODER, POET]))
    assert told["model"] == "coder"
    assert told["task"] == "code"
    assert [each["model"] for each in told["candidates"]] == ["coder", "poet"]
    assert told["patterns"]


# Names and wishes


def test_the_names_are_told_from_models() -> None:
    assert all(map(is_auto, names()))
    assert {"auto", "auto:code", "auto:speed"} <= set(names())
    assert not is_auto("automatic")
    assert not is_auto(None)


@pytest.mark.parametrize(
    ("name", "routing", "wish"),
    [
        ("auto", None, Wish()),
        ("auto:math", None, Wish(task="math")),
        ("auto:cost", None, Wish(strategy="cost")),
        ("auto", {"task": "code", "strategy": "speed"}, Wish("code", "speed")),
        ("auto:math", {"strategy": "quality"}, Wish("math", "quality")),
    ],
)
def test_a_wish(name: str, routing: Any, wish: Wish) -> None:
    assert wish_of(name, routing) == wish


@pytest.mark.parametrize(
    ("name", "routing", "said"),
    [
        ("auto:cooking", None, "after 'auto' may stand a task"),
        ("auto", {"task": "cooking"}, r"routing\.task: 'cooking' is none; one of: code"),
        ("auto", {"strategy": "luck"}, r"routing\.strategy: 'luck' is none; one of: quality"),
        ("auto", {"tusk": "code"}, r"routing\.tusk: unknown; allowed: task, strategy, keep_alive"),
        ("auto", "code", "routing must be an object"),
    ],
)
def test_a_wish_that_there_is_none_of(name: str, routing: Any, said: str) -> None:
    with pytest.raises(BadRequestError, match=said):
        wish_of(name, routing)


# Why


@pytest.mark.parametrize(
    ("wish", "candidates", "why"),
    [
        (Wish(), [CODER, POET], "quality"),
        (Wish(strategy="speed"), [CODER, POET], "speed"),
        (Wish(task="code"), [CODER, POET], "named-task"),
        (Wish(task="code"), [CODER], "only-candidate"),
    ],
)
def test_why_is_one_of_few_words(wish: Wish, candidates: list[Candidate], why: str) -> None:
    assert auto().decide(of_text(CODE), wish, candidates).why == why


def test_why_a_busy_model_is_passed_over() -> None:
    busy = replace(candidate("near", code=0.955), in_flight=3, capacity=4)
    assert auto().decide(of_text(CODE), Wish(), [busy, CODER]).why == "near-tie"


def test_why_a_conversation_stays_and_is_explored() -> None:
    router, marks = auto(), Marks(session="s-1")
    router.decide(of_text(CODE), Wish(), [CODER, POET], marks=marks)
    stays = router.decide(of_text(CODE), Wish(task="code"), [CODER, POET], marks=marks)
    assert stays.why == "stays"
    router.learning = cast("Learning", SimpleNamespace(explore=lambda task, models: "poet"))
    tried = router.decide(of_text(CODE), Wish(), [CODER, POET], marks=Marks(session="s-2"))
    assert (tried.model, tried.why) == ("poet", "explored")


def test_a_verdict_of_the_second_stage_is_taken_and_told() -> None:
    verdict = replace(classify(of_text("hm"), default_rules()), task="creative", confidence=0.9)
    said = of_text("hm")
    decision = auto().decide(said, Wish(), [CODER, POET], verdict=verdict, by_second_stage=True)
    assert (decision.model, decision.why) == ("poet", "second-stage")
    assert decision.choice.reason.endswith("task by the second stage")
    by_rules = auto().decide(said, Wish(), [CODER, POET], verdict=verdict)
    assert (by_rules.model, by_rules.why) == ("poet", "quality")


def test_whether_a_verdict_would_move_a_conversation() -> None:
    router, marks = auto(), Marks(session="s-1")
    unsure = replace(classify(of_text("hm"), default_rules()), task="general", confidence=0.5)
    assert not router.stays(unsure, marks, 0)
    router.decide(of_text(CODE), Wish(), [CODER, POET], marks=marks, now=0)
    assert router.stays(unsure, marks, 1)
    assert not router.stays(replace(unsure, task="math", confidence=1.0), marks, 1)
    assert not router.stays(unsure, Marks(session="another"), 1)
