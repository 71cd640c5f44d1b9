"""A budget is a share of traffic, with something for quiet times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budget import Budget


def taken(budget: Budget, tries: int = 1000) -> int:
    return sum(budget.take() for _ in range(tries))


def test_it_is_a_share_of_the_requests() -> None:
    budget = Budget(share=0.2, floor=0, window_s=10)
    assert taken(budget) == 0
    for _ in range(100):
        budget.count()
    assert taken(budget) == 20


def test_the_floor_is_there_without_requests() -> None:
    assert taken(Budget(share=0.2, floor=7, window_s=10)) == 7


def test_both_sides_fade() -> None:
    budget = Budget(share=0.5, floor=0, window_s=10)
    for _ in range(100):
        budget.count()
    assert taken(budget) == 50
    budget.age(10.0)
    assert budget.requests == pytest.approx(36.79, abs=0.01)
    assert taken(budget) == 0, "what was spent fades no faster than what it was a share of"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 5)), max_size=40))
def test_never_more_than_share_and_floor(seconds: list[tuple[int, int, float]]) -> None:
    budget = Budget(share=0.05, floor=2, window_s=10)
    requests = spent = 0
    for n_requests, n_tries, pause_s in seconds:
        for _ in range(n_requests):
            budget.count()
        spent += taken(budget, n_tries)
        requests += n_requests
        assert budget.spent <= budget.floor + budget.share * budget.requests + 1e-6
        budget.age(pause_s)
    total_s = sum(pause_s for *_, pause_s in seconds)
    assert spent <= 0.05 * requests + 2 * (1 + total_s / 10) + 1e-6
