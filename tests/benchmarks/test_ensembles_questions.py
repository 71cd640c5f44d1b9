"""The questions of the benchmark of ensembles: their answers are computed here once more, in other
ways, from the operands that the texts themselves name."""

from __future__ import annotations

import calendar
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from benchmarks import ensembles_families as families
from benchmarks.ensembles_questions import FILE, SHOTS, Question, dumped, is_right, load

QUESTIONS = load()
BY_ID = {question.id: question for question in QUESTIONS}
KOREAN_DAYS = "월화수목금토일"


def weekday(question: Question) -> str:
    start, days = str(question.of[0]), int(question.of[1])
    names = [name.casefold() for name in calendar.day_name]
    if question.lang == "ko":
        names = [f"{day}요일" for day in KOREAN_DAYS]
    monday = date(2024, 1, 1)
    return names[(monday + timedelta(names.index(start) + days)).weekday()]


def next_month(question: Question) -> str:
    names = [name.casefold() for name in calendar.month_name]
    first = date(2024, names.index(str(question.of[0])), 1)
    return names[(first + timedelta(31)).month]


def numbers(question: Question) -> list[int]:
    return [int(each) for each in question.of]


PER_UNIT = {"minutes": 60, "days": 7, "grams": 1000, "centimetres": 100, "months": 12, "legs": 4}
RECOMPUTED: dict[str, Callable[[Question], object]] = {
    "add": lambda q: sum(numbers(q)),
    "subtract": lambda q: numbers(q)[0] + -numbers(q)[1],
    "multiply": lambda q: sum([numbers(q)[0]] * numbers(q)[1]),
    "divide": lambda q: next(n for n in range(100) if n * numbers(q)[1] == numbers(q)[0]),
    "larger": lambda q: numbers(q)[numbers(q)[0] < numbers(q)[1]],
    "next": lambda q: numbers(q)[3] + (numbers(q)[1] - numbers(q)[0]),
    "half": lambda q: next(n for n in range(100) if n + n == numbers(q)[0]),
    "hour": lambda q: len(range(numbers(q)[0])) + numbers(q)[1],
    "weekday": weekday,
    "month": next_month,
    "letters": lambda q: sum(1 for _ in str(q.of[0])),
    "last word": lambda q: re.findall(r"\w+", str(q.of[0]))[-1],
    "repeat": lambda q: q.of[0],
    **{name: lambda q: sum([PER_UNIT[q.family]] * numbers(q)[0]) for name in PER_UNIT},
}


def test_there_are_enough_of_both_languages_and_none_twice() -> None:
    assert len(QUESTIONS) >= 200
    assert min(Counter(question.lang for question in QUESTIONS).values()) >= 90
    assert len({question.text for question in QUESTIONS}) == len(QUESTIONS)
    assert len(BY_ID) == len(QUESTIONS)
    shown = {text for shots in SHOTS.values() for text, _ in shots}
    assert not shown & {question.text for question in QUESTIONS}
    assert [m["role"] for m in QUESTIONS[0].messages] == ["user", "assistant"] * 3 + ["user"]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_each_answer_is_computed_from_what_the_text_says(question: Question) -> None:
    assert str(RECOMPUTED[question.family](question)) == question.answer
    places = [question.text.casefold().find(str(each)) for each in question.of]
    assert -1 not in places
    assert is_right(question, question.answer)
    assert not is_right(question, "I do not know")
    assert bool(re.search("[가-힣]", question.text)) == (question.lang == "ko")


def test_the_file_is_what_the_families_write() -> None:
    assert FILE.read_text(encoding="utf-8") == dumped(families.questions())


@pytest.mark.parametrize(
    ("which", "text", "right"),
    [
        ("add-en-01", "The answer is {answer}.", True),
        ("add-en-01", "{start} + 1 = {answer}", True),
        ("add-en-01", "29", False),
        ("weekday-en-01", "Answer: {answer}.", True),
        ("weekday-en-01", "Three days after {start} comes {answer}", True),
        ("weekday-en-01", "{answer}, no: {start}", False),
        ("weekday-ko-01", "{answer}입니다.", True),
        ("repeat-en-01", '"{answer}"', True),
        ("repeat-en-01", "{answer} {answer}", False),
    ],
)
def test_what_counts_as_right(which: str, text: str, right: bool) -> None:
    question = BY_ID[which]
    said = text.format(answer=question.answer.title(), start=str(question.of[0]).title())
    assert is_right(question, said) is right
