from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.classify.gate import Gates, gate_of


@pytest.mark.parametrize(
    ("expression", "gate"),
    [
        (r"\btranslate\b", {"translate"}),
        (r"summar(?:y|ize)", {"summary", "summarize"}),
        (r"(?:write|draft).{0,9}poem", {"write", "draft"}),
        (r"colou?r", {"color", "colour"}),
        (r"번역(?:해|하)", {"번역해", "번역하"}),
        (r"(?:compare|compared)", {"compare"}),
        (r"\d+", set()),
        (r"\w*", set()),
    ],
)
def test_gate(expression: str, gate: set[str]) -> None:
    assert gate_of(expression) == gate


@given(st.text(alphabet="abc ", max_size=30), st.lists(st.text("abc", min_size=1), max_size=20))
def test_many_texts_are_found_as_one_by_one(text: str, sought: list[str]) -> None:
    assert Gates.of(sought, 3).found_in(text) == {t for t in sought if t in text}


PIECES = st.sampled_from(["a", "b+", "(?:ab|ba)", "c?", "[ab]", r"\b", "(?:a|bc){1,2}", ".", "^"])


@given(st.lists(PIECES, min_size=1, max_size=5), st.text(alphabet="abc\n", max_size=12))
def test_where_an_expression_matches_its_gate_is_open(pieces: list[str], text: str) -> None:
    expression = "".join(pieces)
    gate = gate_of(expression)
    match = re.search(expression, text, re.MULTILINE)
    if match and gate:
        assert any(piece in text for piece in gate)
