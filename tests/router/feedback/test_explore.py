"""Exploration: off, seldom, repeatable."""

from __future__ import annotations

import pytest

from router.catalog.score import Score
from router.feedback.explore import Explorer
from router.feedback.posterior import Posterior, Tally

ABLE = {
    model: Posterior(alpha, 100 - alpha, Score(0.5, "published", ""), Tally(0, 0))
    for model, alpha in (("a", 60.0), ("b", 55.0))
}


def test_it_is_off_at_zero() -> None:
    explorer = Explorer(0.0, seed=1)
    assert {explorer.pick(ABLE) for _ in range(1000)} == {None}


def test_it_explores_the_share_that_it_was_given() -> None:
    explorer = Explorer(0.05, seed=1)
    picks = [explorer.pick(ABLE) for _ in range(20_000)]
    explored = sum(pick is not None for pick in picks) / len(picks)
    assert 0.045 < explored < 0.055
    assert {"a", "b"} < set(picks)


def test_the_same_seed_explores_alike() -> None:
    one, other = Explorer(0.05, seed=7), Explorer(0.05, seed=7)
    assert [one.pick(ABLE) for _ in range(500)] == [other.pick(ABLE) for _ in range(500)]


def test_with_nobody_able_nobody_is_picked() -> None:
    assert Explorer(0.05, seed=1).pick({}) is None


@pytest.mark.parametrize("share", [-0.01, 0.051, 1.0])
def test_more_than_a_twentieth_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"0 to 0\.05 is allowed"):
        Explorer(share)
