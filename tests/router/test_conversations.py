"""Conversations keep their model for as long as that makes sense."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.conversations import Conversations, Marks, Seat, key


@dataclass(frozen=True)
class Said:
    task: str
    confidence: float
    language: str = "en"


CODE, UNSURE, SURE = Said("code", 0.97), Said("general", 0.6), Said("translation", 0.95)
ONE = key(Marks(session="one"))


def memory(most: int = 10, stay_s: float = 60.0) -> Conversations:
    return Conversations(most, stay_s, switch_confidence=0.9)


def test_commit_it_stays_with_the_coder() -> None:
    here = memory()
    here.keep(ONE, "coder", CODE, now=0.0)
    seat = here.seat(ONE, now=10.0)
    assert seat == Seat("coder", "code", 0.0)
    assert here.stays(seat, UNSURE)
    here.keep(ONE, "coder", UNSURE, now=10.0)
    assert here.seat(ONE, now=10.0) == Seat("coder", "code", 10.0)


def test_a_sure_change_of_task_moves_it_and_the_new_task_stands() -> None:
    here = memory()
    here.keep(ONE, "coder", CODE, now=0.0)
    seat = here.seat(ONE, now=1.0)
    assert seat is not None
    assert not here.stays(seat, SURE)
    here.keep(ONE, "chat", SURE, now=1.0)
    assert here.seat(ONE, now=1.0) == Seat("chat", "translation", 1.0)


def test_a_task_that_changed_on_the_same_model_stands_too() -> None:
    here = memory()
    here.keep(ONE, "chat", CODE, now=0.0)
    here.keep(ONE, "chat", SURE, now=1.0)
    assert here.seat(ONE, now=1.0) == Seat("chat", "translation", 1.0)


def test_it_is_forgotten_after_a_while_without_a_request() -> None:
    here = memory(stay_s=60.0)
    here.keep(ONE, "coder", CODE, now=0.0)
    here.keep(ONE, "coder", CODE, now=50.0)
    assert here.seat(ONE, now=110.0) is not None
    assert here.seat(ONE, now=110.1) is None
    assert len(here) == 0


def test_a_model_that_was_unloaded_holds_nothing() -> None:
    here = memory()
    here.keep(ONE, "coder", CODE, now=0.0)
    here.forget("chat")
    assert len(here) == 1
    here.forget("coder")
    assert here.seat(ONE, now=0.0) is None


def test_without_a_key_nothing_is_kept() -> None:
    here = memory()
    here.keep(None, "coder", CODE, now=0.0)
    assert (here.seat(None, now=0.0), len(here)) == (None, 0)


@given(st.lists(st.integers(0, 30), max_size=100), st.integers(1, 8))
def test_the_latest_are_kept_and_never_more_than_allowed(asked: list[int], most: int) -> None:
    here = memory(most)
    for now, each in enumerate(asked):
        here.keep(str(each).encode(), "m", CODE, float(now) / 1000)
        assert len(here) <= most
    latest = list(dict.fromkeys(reversed(asked)))[:most]
    assert all(here.seat(str(each).encode(), 0.0) for each in latest)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Marks(session="s", opening=b"a"), Marks(session="s", opening=b"b", user="u"), True),
        (Marks(session="s"), Marks(session="t"), False),
        (Marks(session="s", tenant="x"), Marks(session="s", tenant="y"), False),
        (Marks(session="k"), Marks(prompt_cache_key="k"), False),
        (Marks(prompt_cache_key="k", opening=b"a"), Marks(prompt_cache_key="k"), True),
        (Marks(user="u", opening=b"a"), Marks(user="u", opening=b"a"), True),
        (Marks(user="u", opening=b"a"), Marks(user="u", opening=b"b"), False),
        (Marks(opening=b"a"), Marks(opening=b"a"), True),
        (Marks(opening=b"a"), Marks(opening=b"b"), False),
    ],
)
def test_keys(one: Marks, other: Marks, same: bool) -> None:
    assert (key(one) == key(other)) is same
    assert key(one) is not None


def test_a_request_without_marks_has_no_key() -> None:
    assert key(Marks(tenant="x")) is None
