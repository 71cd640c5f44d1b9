"""Ratings and checked outcomes, and nothing else."""

from __future__ import annotations

import pytest

from common.errors import BadRequestError
from router.feedback.signals import OUTCOMES, outcome, rating


@pytest.mark.parametrize(
    ("said", "reward"),
    [("up", 1), ("Down", 0), (True, 1), (False, 0), (1, 0), (3, 0.5), (5, 1), ("good", 1)],
)
def test_ratings(said: object, reward: float) -> None:
    assert rating(said).reward == reward


@pytest.mark.parametrize("said", ["fine", 0, 6, 0.5, None, [], {"up": 1}])
def test_what_is_no_rating_is_refused_with_what_is(said: object) -> None:
    with pytest.raises(BadRequestError, match='"up", "down", true, false or 1 to 5') as refused:
        rating(said)
    assert refused.value.param == "rating"


def test_outcomes_are_of_checks() -> None:
    assert outcome("tests_passed").reward == 1
    assert outcome("tests_failed").reward == 0
    assert {signal.kind for signal in OUTCOMES.values()} == {"json", "tests", "agreement"}


@pytest.mark.parametrize(
    "said", ["long", "has_code_fence", "many_lines", "", None, 3, ["json_valid"]]
)
def test_the_looks_of_an_answer_are_no_outcome(said: object) -> None:
    with pytest.raises(BadRequestError, match="one of: json_valid"):
        outcome(said)
