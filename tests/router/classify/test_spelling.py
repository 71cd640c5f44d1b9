"""Slips of the keyboard are put right, and what is right is left alone."""

from __future__ import annotations

import pytest

from router.classify import of_text
from router.classify.rules import default_rules
from router.classify.spelling import english_slips, korean_slips
from router.classify.view import view_of

SLIPS = default_rules().slips
NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("slipped", "right"),
    [
        ("tarnslate this", "translate this"),
        ("wirte a peom", "write a poem"),
        ("summmarize it", "summarize it"),
        ("the probabilty of two sixes", "the probability of two sixes"),
        ("a ffunction", "a function"),
    ],
)
def test_english_slips_are_mended(slipped: str, right: str) -> None:
    assert SLIPS.mend(slipped) == right


@pytest.mark.parametrize(
    "text",
    [
        "there are three pairs in paris",
        "form the backend team, then step back",
        "write a poem, solve the equation, translate this into korean",
        "the actors compete for a lease in korea",
    ],
)
def test_real_words_are_left(text: str) -> None:
    assert SLIPS.mend(text) == text


@pytest.mark.parametrize("text", ["이글요약해쥐", "애상문재", "매일문고에가서착하고"])
def test_what_is_no_known_slip_is_left(text: str) -> None:
    assert SLIPS.mend_korean(text) == text


@pytest.mark.parametrize(
    ("slipped", "right"),
    [("이글번약해줘", "이글번역해줘"), ("쿠드고쳐줘", "코드고쳐줘"), ("스립크트를", "스크립트를")],
)
def test_korean_slips_are_mended_at_the_same_length(slipped: str, right: str) -> None:
    mended = SLIPS.mend_korean(slipped)
    assert mended == right
    assert len(mended) == len(slipped)


def test_of_words_nobody_looked_through_fewer_slips_are_known() -> None:
    listed = english_slips(frozenset({"median"}), NOBODY)
    unseen = english_slips(NOBODY, frozenset({"median"}))
    assert listed["media"] == "median"
    assert "media" not in unseen
    assert unseen["meidan"] == "median"


def test_a_slip_that_is_part_of_a_right_word_is_none() -> None:
    assert "누래" in korean_slips(frozenset({"노래"}), NOBODY)
    assert "누래" not in korean_slips(frozenset({"노래"}), frozenset({"누래지다"}))


def test_the_rules_see_the_mended_text() -> None:
    said = of_text("Plz tarnslate the follwoing: hello")
    zone = view_of(said.text, said, SLIPS).zones["en"]
    assert zone is not None
    assert "translate the following" in zone.text
