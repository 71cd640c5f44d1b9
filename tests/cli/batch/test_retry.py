"""What is sent again, how often, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.batch.retry import backoff_s, pause_s


@pytest.mark.parametrize("status", [429, 503, 529])
def test_not_now_is_asked_for_ever(status: int) -> None:
    assert pause_s(status, 5000, 1.0) == 10.0
    assert pause_s(status, 0, 0.0, asked_s=7.0) == 7.25


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_what_broke_is_asked_a_few_times(status: int) -> None:
    assert [pause_s(status, n, 1.0) for n in range(4)] == [0.5, 1.0, 2.0, None]


def test_a_connection_that_broke() -> None:
    assert [pause_s(None, n, 0.0) is None for n in range(7)] == [False] * 5 + [True] * 2


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 413, 422])
def test_the_rest_is_final(status: int) -> None:
    assert pause_s(status, 0, 1.0) is None


def test_the_server_says_that_it_is_of_no_use() -> None:
    assert pause_s(503, 0, 1.0, is_refused=True) is None


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_pause_grows_to_ten_seconds(retries: int, roll: float) -> None:
    pause = backoff_s(retries, roll)
    assert 0.25 <= pause <= 10.0
    assert pause <= backoff_s(retries + 1, roll)
