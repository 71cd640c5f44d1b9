"""Shares add up to what was counted, whenever reports come; a new process starts anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hits import LEAST_QUERIES, HitWindow

steps = st.tuples(st.integers(0, 3 * LEAST_QUERIES), st.floats(0.0, 1.0))


@given(first=st.tuples(st.integers(0, 10**9), st.floats(0.0, 1.0)), later=st.lists(steps))
def test_the_shares_of_all_windows_add_up_to_what_was_found(
    first: tuple[int, float], later: list[tuple[int, float]]
) -> None:
    window = HitWindow()
    queries, hits = first[0], int(first[0] * first[1])
    assert window.share(queries, hits) is None
    told_queries, told_hits, found = queries, hits, 0.0
    for more, share in later:
        queries, hits = queries + more, hits + int(more * share)
        told = window.share(queries, hits)
        assert (told is None) == (queries - told_queries < LEAST_QUERIES)
        if told is not None:
            assert 0.0 <= told <= 1.0
            found += told * (queries - told_queries)
            told_queries, told_hits = queries, hits
    assert found == pytest.approx(told_hits - int(first[0] * first[1]))


def test_what_was_counted_before_the_first_report_is_not_told() -> None:
    window = HitWindow()
    assert window.share(10 * LEAST_QUERIES, 0) is None
    assert window.share(11 * LEAST_QUERIES, LEAST_QUERIES) == 1.0


def test_counters_that_begin_anew_are_another_processs() -> None:
    window = HitWindow()
    window.share(0, 0)
    assert window.share(LEAST_QUERIES, LEAST_QUERIES // 2) == 0.5
    assert window.share(100, 90) is None
    assert window.share(LEAST_QUERIES + 99, 90) is None
    assert window.share(LEAST_QUERIES + 100, 90) == 0.0


def test_an_engine_without_counters_tells_nothing_and_changes_nothing() -> None:
    window = HitWindow()
    assert window.share(None, None) is None
    window.share(0, 0)
    assert window.share(None, None) is None
    assert window.share(LEAST_QUERIES, LEAST_QUERIES) == 1.0


def test_after_a_reset_the_next_report_only_sets_the_mark() -> None:
    window = HitWindow()
    window.share(0, 0)
    window.reset()
    assert window.share(LEAST_QUERIES, LEAST_QUERIES) is None
    assert window.share(2 * LEAST_QUERIES, LEAST_QUERIES) == 0.0
