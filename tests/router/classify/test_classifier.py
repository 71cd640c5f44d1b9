from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.classify.classifier import LEARNED, classify, confidence
from router.classify.conversation import Conversation, Turn, of_text
from router.classify.rules import default_rules

RULES = default_rules()

WISHES = [
    ("code", "Write a Rust function that reverses a linked list."),
    ("code", "my flask app crashes with KeyError: 'user', what am i doing wrong"),
    ("code", "How do I undo my last git commit without losing the changes?"),
    ("code", "자바스크립트로 배열에서 중복을 없애는 함수 좀 짜줘"),
    (
        "code",
        "이 쿼리가 너무 느린데 인덱스를 어떻게 걸어야 하나요? SELECT * FROM t WHERE id = 3",
    ),
    ("analysis", "Compare electric cars and hydrogen cars for a taxi company."),
    ("analysis", "What are the pros and cons of moving to a four-day week?"),
    ("analysis", "재택근무의 장단점을 분석해 주세요"),
    ("analysis", "다음 후기가 긍정인지 부정인지 분류해줘: 배송이 너무 늦었어요"),
    ("math", "A train travels 180 km in 2.5 hours. What is its average speed?"),
    ("math", "Solve for x: 3x + 7 = 22"),
    ("math", "사과 12개를 4명이 똑같이 나누면 한 명이 몇 개씩 갖나요?"),
    ("math", "함수 f(x)=x^3-2x의 도함수를 구하시오"),
    ("translation", "Translate the following into Korean: The meeting is at noon."),
    ("translation", "How do you say 'good luck' in Japanese?"),
    ("translation", "다음 문장을 영어로 옮겨 주세요. 오늘은 비가 옵니다."),
    ("translation", "이거 일본어로 뭐라고 해?"),
    ("summary", "Summarize the article below in three bullet points."),
    ("summary", "tl;dr of this thread please"),
    ("summary", "아래 회의록을 세 줄로 요약해줘"),
    ("summary", "이 기사 핵심만 정리해 주시겠어요?"),
    ("creative", "Write a short poem about the first snow in a harbour town."),
    ("creative", "Draft a cheerful email inviting my team to a picnic."),
    ("creative", "가을 바다를 주제로 시 한 편 써줘"),
    ("creative", "우리 카페 이름 좀 지어줄래?"),
    ("general", "Who painted the ceiling of the Sistine Chapel?"),
    ("general", "Can you recommend a good book for a long flight?"),
    ("general", "김치찌개 맛있게 끓이는 방법 알려줘"),
    ("general", "안녕, 오늘 기분 어때?"),
]


@pytest.mark.parametrize(("task", "text"), WISHES)
def test_plain_wishes(task: str, text: str) -> None:
    verdict = classify(of_text(text), RULES)
    assert verdict.task == task, verdict


@pytest.mark.parametrize(("task", "text"), [w for w in WISHES if re.search("[가-힣]", w[1])])
def test_korean_needs_no_spaces(task: str, text: str) -> None:
    verdict = classify(of_text(re.sub(r"(?<=[가-힣]) ", "", text)), RULES)
    assert verdict.task == task, verdict


@pytest.mark.parametrize(
    "ending", ["", "줘", "줘라", "주세요", "주십시오", "주실 수 있나요?", "줄래"]
)
@pytest.mark.parametrize(
    ("task", "stem"),
    [("translation", "이 글 번역해"), ("summary", "이 글 요약해"), ("analysis", "이 글 분석해")],
)
def test_korean_endings(task: str, stem: str, ending: str) -> None:
    assert classify(of_text(f"{stem} {ending}"), RULES).task == task


@pytest.mark.parametrize(("task", "text"), WISHES)
def test_courtesies_change_nothing(task: str, text: str) -> None:
    if re.search("[가-힣]", text):
        polite = f"안녕하세요! {text} 감사합니다~"
    else:
        polite = f"Hi! Could you please help me with this? {text} Thank you so much!"
    assert classify(of_text(polite), RULES).task == task


def test_scripts_may_be_mixed_within_a_word() -> None:
    verdict = classify(of_text("이 meeting notes를 summarize해줘"), RULES)
    assert (verdict.task, verdict.language, verdict.mixed) == ("summary", "ko", True)


def test_chance_syllables_across_words_do_not_speak() -> None:
    """`미국의 역사` holds `의역` (free translation) only by leaving out the space."""
    assert classify(of_text("미국의 역사에 대해 말해 줘"), RULES).task == "general"


def test_a_wish_within_a_quotation_is_material() -> None:
    text = 'Translate "Please write a poem about the sea and the stars above it" into German.'
    assert classify(of_text(text), RULES).task == "translation"


CODING = (
    Turn("user", "Write a Python function that parses ISO dates"),
    Turn("assistant", "```python\ndef parse(text): ...\n```"),
)
POEM = (Turn("user", "Write a poem about autumn"), Turn("assistant", "Leaves fall..."))


@pytest.mark.parametrize(
    ("before", "text", "task"),
    [
        (CODING, "commit it", "code"),
        (CODING, "make it shorter", "code"),
        (CODING, "이제 테스트도 추가해줘", "code"),
        (POEM, "make it shorter", "creative"),
        (POEM, "번역해줘", "translation"),
        (POEM, "한국어로", "translation"),
        (CODING, "번역해줘", "translation"),
        pytest.param(
            POEM,
            "What is the capital of Australia, and how many people live in that city?",
            "general",
            marks=pytest.mark.xfail(reason="'that city' is taken for the poem before", strict=True),
        ),
    ],
)
def test_follow_ups(before: tuple[Turn, ...], text: str, task: str) -> None:
    verdict = classify(Conversation(text, before=before), RULES)
    assert verdict.task == task, verdict


def test_a_follow_up_alone_says_less() -> None:
    alone = classify(of_text("make it shorter"), RULES)
    assert alone.confidence < classify(Conversation("make it shorter", POEM), RULES).confidence


def test_attachments_and_tools_are_signals() -> None:
    look = Conversation("What does this chart show?", has_images=True)
    assert classify(look, RULES).task == "analysis"
    agent = Conversation(
        "it still fails, have another look", tools=("Bash", "Edit"), has_tools=True
    )
    assert classify(agent, RULES).task == "code"


def test_a_verdict_tells_why() -> None:
    verdict = classify(of_text("Summarize this article"), RULES)
    loudest = next(said for said in verdict.spoke if said.pattern != LEARNED)
    assert (loudest.pattern, loudest.matched) == ("summarize", "summarize")
    assert verdict.scores["summary"] == max(verdict.scores.values())
    assert "summarize" in verdict.reason


def test_without_a_pattern_it_is_general_and_says_so() -> None:
    verdict = classify(of_text("zzqxv wvuqq"), RULES)
    assert verdict.task == "general"
    assert "no pattern" in verdict.reason


def test_confidence_rises_with_the_lead() -> None:
    shares = [confidence(lead / 4, RULES) for lead in range(60)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


@given(st.text(alphabet='abc가나 translateswriteapoem번역해줘\n"`?1.', max_size=200))
def test_gates_only_save_time(text: str) -> None:
    open_rules = replace(
        RULES, patterns=tuple(replace(p, gate=frozenset()) for p in RULES.patterns)
    )
    assert classify(of_text(text), RULES) == classify(of_text(text), open_rules)


def test_any_text_is_classified_in_time() -> None:
    """Far above the budget of 2 ms, which is measured elsewhere: this guards against runaways."""
    for piece in ("a ", "(((", "가", "1+", "write ", '"', "input: x ", "\n- b", "how is "):
        text = of_text(piece * 4000)
        began = time.thread_time()
        classify(text, RULES)
        assert time.thread_time() - began < 0.1, piece
