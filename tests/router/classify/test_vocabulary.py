"""Which whole words an expression looks for."""

from __future__ import annotations

import pytest

from router.classify.rules import default_rules
from router.classify.vocabulary import words_of


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (r"\bsummar(?:y|ies|i[sz]e)\b", {"summary", "summaries", "summarise", "summarize"}),
        (r"\btranslat\w+", set()),
        (
            r"\bfind the (?:root|sum)s?\b",
            {"find", "the", "root", "roots", "sum", "sums"},
        ),
        (r"\bpoems?\b|\bhaikus?", {"poem", "poems", "haiku", "haikus"}),
        (r"\bcolou?r\b", {"color", "colour"}),
    ],
)
def test_words_are_told_whole(expression: str, words: set[str]) -> None:
    assert words_of(expression, "a-z") == words


def test_what_is_cut_out_of_a_word_is_none() -> None:
    known = words_of(r"\bwrit(?:e|ing|er\w+) (?:\w+ ){0,3}(?:poem|song)\b", "a-z")
    assert {"write", "writing"} <= known
    assert not known & {"writ", "writer"}


def test_korean_stems() -> None:
    assert words_of(r"(?:짧은|자작)시|(?<!동)소설", "가-힣") == {"짧은시", "자작시", "소설"}


@pytest.mark.parametrize("script", ["en", "ko"])
def test_every_word_of_the_rules_occurs_in_an_expression(script: str) -> None:
    patterns = [p for p in default_rules().patterns if p.script == script and p.expression]
    for pattern in patterns:
        assert pattern.expression is not None
        letters = "a-z" if script == "en" else "가-힣"
        for word in words_of(pattern.expression.pattern, letters):
            assert set(word) <= set(pattern.expression.pattern), (pattern.name, word)
