"""Writes benchmarks/data/ensembles_questions.jsonl anew: families of questions in many wordings.

`python -m benchmarks.ensembles_families`. The same every time.
"""

# ruff: noqa: RUF001, SIM905  (a sign of multiplication is one; words in a row read better)
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

from benchmarks.ensembles_questions import FILE, Question, dumped

Operands = tuple[int | str, ...]
DAYS: Final = {
    "en": "monday tuesday wednesday thursday friday saturday sunday".split(),
    "ko": "월요일 화요일 수요일 목요일 금요일 토요일 일요일".split(),
}
MONTHS: Final = (
    "january february march april may june july august september october november december".split()
)
WORDS: Final = {
    "en": "cat house tree green water table orange window garden paper river music".split(),
    "ko": "사과 나무 바다 학교 고양이 자전거 도서관 비행기 하늘 강아지 컴퓨터 우산".split(),
}
PHRASES: Final = (
    "the red house, a cup of tea, my old friend, good morning, big blue sky, open the door, "
    "two small birds, time to go home"
).split(", ")
_ONLY: Final = {
    "number": {"en": "Answer with the number only.", "ko": "숫자만 답하세요."},
    "word": {"en": "Answer with one word only.", "ko": "한 단어로만 답하세요."},
}


@dataclass(frozen=True)
class Family:
    """`draw` gives the operands, in the order in which the wordings name them."""

    name: str
    draw: Callable[[Random, str], Operands]
    answer: Callable[[Operands, str], str]
    wordings: Mapping[str, Sequence[str]]
    asks: str = "number"
    among: Mapping[str, Sequence[str]] | None = None
    each: int = 8  # questions in each language


def two(most: int) -> Callable[[Random, str], Operands]:
    return lambda random, _: (random.randint(2, most), random.randint(2, most))


def ordered(most: int) -> Callable[[Random, str], Operands]:
    def draw(random: Random, lang: str) -> Operands:
        small, large = sorted(random.sample(range(1, most), 2))
        return large, small

    return draw


def product(random: Random, _: str) -> Operands:
    by, quotient = random.randint(2, 5), random.randint(2, 5)
    return by * quotient, by


def steps(random: Random, _: str) -> Operands:
    start, step = random.randint(1, 9), random.choice((1, 2, 5, 10))
    return tuple(start + i * step for i in range(4))


def word(random: Random, lang: str) -> Operands:
    return (random.choice(WORDS[lang]),)


def ints(of: Operands) -> list[int]:
    return [int(each) for each in of]


def times(factor: int) -> Callable[[Operands, str], str]:
    return lambda of, _: str(ints(of)[0] * factor)


def unit(name: str, factor: int, en: Sequence[str], ko: Sequence[str]) -> Family:
    wordings = {"en": en, "ko": ko}
    return Family(name, lambda r, _: (r.randint(2, 5),), times(factor), wordings, each=3)


def day_after(of: Operands, lang: str) -> str:
    days = DAYS[lang]
    return days[(days.index(str(of[0])) + int(of[1])) % 7]


FAMILIES: Final = (
    Family(
        "add",
        two(9),
        lambda of, _: str(sum(ints(of))),
        {
            "en": [
                "What is {0} + {1}?",
                "Add {0} and {1}.",
                "Tom has {0} apples and buys {1} more. How many apples does he have?",
                "{0} plus {1} equals what?",
            ],
            "ko": [
                "{0} + {1} = ?",
                "다음을 계산하세요: {0} + {1}",
                "사과가 {0}개 있습니다. {1}개를 더 샀습니다. 사과는 모두 몇 개입니까?",
            ],
        },
    ),
    Family(
        "subtract",
        ordered(10),
        lambda of, _: str(ints(of)[0] - ints(of)[1]),
        {
            "en": [
                "What is {0} - {1}?",
                "Take {1} away from {0}. What is left?",
                "Mia had {0} coins and lost {1}. How many coins are left?",
            ],
            "ko": [
                "{0} - {1} = ?",
                "빵이 {0}개 있었습니다. {1}개를 먹었습니다. 몇 개가 남았습니까?",
            ],
        },
    ),
    Family(
        "multiply",
        two(5),
        lambda of, _: str(ints(of)[0] * ints(of)[1]),
        {
            "en": [
                "What is {0} times {1}?",
                "Multiply {0} by {1}.",
                "There are {0} boxes with {1} pens each. How many pens are there?",
            ],
            "ko": [
                "{0} × {1} = ?",
                "상자 {0}개에 연필이 {1}자루씩 있습니다. 연필은 모두 몇 자루입니까?",
            ],
        },
    ),
    Family(
        "divide",
        product,
        lambda of, _: str(ints(of)[0] // ints(of)[1]),
        {
            "en": [
                "What is {0} divided by {1}?",
                "Share {0} sweets equally among {1} children. How many does each get?",
            ],
            "ko": ["{0} ÷ {1} = ?", "사탕 {0}개를 {1}명이 똑같이 나누면 한 명이 몇 개를 받습니까?"],
        },
    ),
    Family(
        "larger",
        ordered(100),
        lambda of, _: str(max(ints(of))),
        {
            "en": [
                "Which number is larger, {0} or {1}?",
                "Which is the greater number: {1} or {0}?",
            ],
            "ko": ["더 큰 수는 무엇입니까? {0}, {1}", "{1}, {0} 중에서 더 큰 수는 무엇입니까?"],
        },
    ),
    Family(
        "next",
        steps,
        lambda of, _: str(2 * ints(of)[-1] - ints(of)[-2]),
        {
            "en": [
                "Which number comes next: {0}, {1}, {2}, {3}?",
                "Continue with one number: {0}, {1}, {2}, {3},",
            ],
            "ko": ["다음에 올 수는 무엇입니까? {0}, {1}, {2}, {3}"],
        },
    ),
    Family(
        "half",
        lambda r, _: (2 * r.randint(1, 10),),
        lambda of, _: str(ints(of)[0] // 2),
        {
            "en": ["What is half of {0}?", "What is 50 % of {0}?"],
            "ko": ["{0}의 절반은 얼마입니까?", "{0}의 50 %는 얼마입니까?"],
        },
        each=6,
    ),
    unit("minutes", 60, ["How many minutes are {0} hours?"], ["{0}시간은 몇 분입니까?"]),
    unit("days", 7, ["How many days are {0} weeks?"], ["{0}주는 며칠입니까?"]),
    unit("grams", 1000, ["How many grams are {0} kilograms?"], ["{0}킬로그램은 몇 그램입니까?"]),
    unit(
        "centimetres",
        100,
        ["How many centimetres are {0} metres?"],
        ["{0}미터는 몇 센티미터입니까?"],
    ),
    unit("months", 12, ["How many months are {0} years?"], ["{0}년은 몇 개월입니까?"]),
    unit(
        "legs",
        4,
        ["A dog has 4 legs. How many legs do {0} dogs have?"],
        ["개의 다리는 4개입니다. 개 {0}마리의 다리는 모두 몇 개입니까?"],
    ),
    Family(
        "hour",
        lambda r, _: (r.randint(1, 6), r.randint(1, 5)),
        lambda of, _: str(sum(ints(of))),
        {
            "en": [
                "A film starts at {0} o'clock and lasts {1} hours. At what hour does it end?",
                "It is {0} o'clock. What hour is it {1} hours later?",
            ],
            "ko": ["영화가 {0}시에 시작해서 {1}시간 동안 합니다. 몇 시에 끝납니까?"],
        },
        each=6,
    ),
    Family(
        "weekday",
        lambda r, lang: (r.choice(DAYS[lang]), r.randint(1, 3)),
        day_after,
        {
            "en": [
                "Today is {0}. What day of the week is it {1} days from now?",
                "If it is {0} today, which weekday comes {1} days later?",
            ],
            "ko": ["오늘은 {0}입니다. {1}일 뒤는 무슨 요일입니까?"],
        },
        "word",
        DAYS,
        each=6,
    ),
    Family(
        "month",
        lambda r, _: (r.choice(MONTHS),),
        lambda of, _: MONTHS[(MONTHS.index(str(of[0])) + 1) % 12],
        {
            "en": ["Which month comes right after {0}?", "What is the month that follows {0}?"],
        },
        "word",
        {"en": MONTHS},
        each=6,
    ),
    Family(
        "letters",
        word,
        lambda of, _: str(len(str(of[0]))),
        {
            "en": ['How many letters does the word "{0}" have?', 'Count the letters of "{0}".'],
            "ko": [
                "'{0}'의 글자 수는 몇 개입니까?",
                "낱말 '{0}'의 글자를 세어 보세요. 몇 글자입니까?",
            ],
        },
        each=6,
    ),
    Family(
        "last word",
        lambda r, _: (r.choice(PHRASES),),
        lambda of, _: str(of[0]).split()[-1],
        {
            "en": [
                'What is the last word of "{0}"?',
                "Write only the final word of this text: {0}",
            ],
        },
        "word",
        each=6,
    ),
    Family(
        "repeat",
        word,
        lambda of, _: str(of[0]),
        {
            "en": ["Repeat this word: {0}", "Write the word {0} once."],
            "ko": ["이 낱말을 그대로 쓰세요: {0}"],
        },
        "word",
        each=5,
    ),
)


def questions() -> Iterator[Question]:
    for family in FAMILIES:
        for lang, wordings in family.wordings.items():
            yield from _of(family, lang, wordings)


def _of(family: Family, lang: str, wordings: Sequence[str]) -> Iterator[Question]:
    """No two alike; wordings take turns."""
    random, seen = Random(f"{family.name} {lang}"), set[str]()
    for wording in cycle(wordings):
        if len(seen) == family.each:
            return
        of = family.draw(random, lang)
        told = [each.title() if each in (*DAYS["en"], *MONTHS) else each for each in map(str, of)]
        text = f"{wording.format(*told)} {_ONLY[family.asks][lang]}"
        if text not in seen:
            seen.add(text)
            among = tuple(family.among[lang]) if family.among else ()
            answer, name = family.answer(of, lang), f"{family.name}-{lang}-{len(seen):02}"
            yield Question(name, lang, family.name, text, answer, of, among)


def main() -> int:
    found = list(questions())
    FILE.write_text(dumped(found), encoding="utf-8")
    print(f"{len(found)} questions: {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
