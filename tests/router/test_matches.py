"""The histogram against a plain count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.matches import BOUNDS, Matches

prompts = st.integers(1, 40).flatmap(
    lambda blocks: st.tuples(st.integers(0, blocks), st.just(blocks))
)


@given(seen=st.lists(prompts))
def test_each_bound_counts_the_shares_up_to_it(seen: list[tuple[int, int]]) -> None:
    matches, shares = Matches(), [matched / blocks for matched, blocks in seen]
    for matched, blocks in seen:
        matches.add(matched, blocks)
    assert matches.cumulative() == [(b, sum(share <= b for share in shares)) for b in BOUNDS]
    assert matches.sum == pytest.approx(sum(shares))
    assert matches.cumulative()[-1][1] == len(seen)
