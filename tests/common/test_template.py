from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.template import filled, names


def test_names_and_values() -> None:
    text = "{question} and {steps.a-b} and {question}"
    assert names(text) == ("question", "steps.a-b")
    assert filled(text, {"question": "1", "steps.a-b": "2"}) == "1 and 2 and 1"


def test_korean_names() -> None:
    assert names("{steps.초안}") == ("steps.초안",)


def test_doubled_braces_and_other_braces_are_text() -> None:
    assert names('{{question}} {"a": {}} {0} { question } {') == ()
    assert filled("{{question}} {} {0}", {}) == "{question} {} {0}"


@given(st.text(), st.text())
def test_values_are_never_expanded(one: str, other: str) -> None:
    assert filled("<{a}|{b}>", {"a": one, "b": other}) == f"<{one}|{other}>"
    tricky = {"a": "{b}" + one, "b": "{a}" + other}
    assert filled("{a}{b}", tricky) == tricky["a"] + tricky["b"]
