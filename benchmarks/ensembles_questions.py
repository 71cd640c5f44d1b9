"""The questions of `make bench-ensembles`: small ones with one right answer, English and Korean.

benchmarks/ensembles_families.py has written them; a test computes their answers once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import ROOT
from router.ensembles.extraction import extract

FILE: Final = ROOT / "benchmarks" / "data" / "ensembles_questions.jsonl"
# Turns that show what is wanted, before every question; without them a small model explains.
SHOTS: Final = {
    "en": (
        ("What is 2 + 1? Answer with the number only.", "3"),
        ('What is the first word of "tall man"? Answer with one word only.', "tall"),
        ("How many ears do two cats have? Answer with the number only.", "4"),
    ),
    "ko": (
        ("2 + 1 = ? 숫자만 답하세요.", "3"),
        ("이 낱말을 그대로 쓰세요: 꽃 한 단어로만 답하세요.", "꽃"),
        ("고양이 두 마리의 귀는 모두 몇 개입니까? 숫자만 답하세요.", "4"),
    ),
}


@dataclass(frozen=True)
class Question:
    """`of`: what the answer is computed from. `among`: the answers that there are, if they are
    words; the last one that is named counts."""

    id: str
    lang: str  # en or ko
    family: str
    text: str
    answer: str
    of: tuple[int | str, ...]
    among: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        shots = SHOTS[self.lang]
        turns = [turn for q, a in shots for turn in (("user", q), ("assistant", a))]
        return [{"role": role, "content": text} for role, text in (*turns, ("user", self.text))]


def load(path: Path = FILE) -> list[Question]:
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [
        Question(**{**row, "of": tuple(row["of"]), "among": tuple(row.get("among", ()))})
        for row in rows
    ]


def dumped(questions: Iterable[Question]) -> str:
    rows = (asdict(question) for question in questions)
    kept = ({key: value for key, value in row.items() if key != "among" or value} for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def is_right(question: Question, text: str) -> bool:
    """By the router's own extraction, so that what it counts is what is counted here."""
    if question.among:
        said = text.casefold()
        return last_named(said, question.among) == question.answer
    return extract(text, question=question.text) == extract(question.answer)


def last_named(text: str, words: Iterable[str]) -> str | None:
    places = {word: text.rfind(word) for word in words}
    found = max(places, key=lambda word: (places[word], len(word)))
    return found if places[found] >= 0 else None
