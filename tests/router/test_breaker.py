"""Every transition of the breaker, with the time passed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.routing_config import BreakerConfig
from router.breaker import Breaker, BreakerState, Verdict

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN
FAILURE, SUCCESS, NEITHER = Verdict.FAILURE, Verdict.SUCCESS, Verdict.NEITHER


def breaker(*, failures: int = 3, open_s: float = 30.0, successes: int = 2) -> Breaker:
    return Breaker(BreakerConfig(failures=failures, open=open_s, successes=successes))


def attempt(here: Breaker, verdict: Verdict, at: float) -> None:
    here.depart(at)
    here.arrive(verdict, at, at)


def opened(at: float = 0.0) -> Breaker:
    here = breaker()
    for _ in range(3):
        attempt(here, FAILURE, at)
    return here


def test_the_defaults() -> None:
    config = BreakerConfig()
    assert (config.failures, config.open_s, config.successes) == (5, 30.0, 2)


def test_failures_in_a_row_open_it() -> None:
    here = breaker()
    for expected in (CLOSED, CLOSED, OPEN):
        attempt(here, FAILURE, 1.0)
        assert here.state(1.0) is expected
    assert not here.closed
    assert here.opened_at == 1.0
    assert not here.admits(1.0)


def test_a_success_between_starts_the_count_anew() -> None:
    here = breaker()
    for verdict in (FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE):
        attempt(here, verdict, 1.0)
    assert here.state(1.0) is CLOSED


def test_what_says_nothing_neither_counts_nor_clears() -> None:
    here = breaker()
    for verdict in (FAILURE, NEITHER, FAILURE, NEITHER):
        attempt(here, verdict, 1.0)
    assert here.state(1.0) is CLOSED
    attempt(here, FAILURE, 1.0)
    assert here.state(1.0) is OPEN


def test_it_is_half_open_after_its_time() -> None:
    here = opened(at=10.0)
    assert (here.state(39.9), here.admits(39.9)) == (OPEN, False)
    assert (here.state(40.0), here.admits(40.0)) == (HALF_OPEN, True)


def test_half_open_lets_one_probe_through() -> None:
    here = opened()
    here.depart(30.0)
    assert not here.admits(30.0)
    here.arrive(SUCCESS, 31.0, 30.0)
    assert here.state(31.0) is HALF_OPEN
    assert here.admits(31.0)


def test_enough_successful_probes_close_it() -> None:
    here = opened()
    attempt(here, SUCCESS, 30.0)
    assert here.state(30.0) is HALF_OPEN
    attempt(here, SUCCESS, 31.0)
    assert (here.state(31.0), here.closed) == (CLOSED, True)
    for _ in range(2):  # and the old failures are forgotten
        attempt(here, FAILURE, 32.0)
    assert here.state(32.0) is CLOSED


def test_a_failed_probe_opens_it_for_the_whole_time_again() -> None:
    here = opened()
    attempt(here, SUCCESS, 30.0)
    attempt(here, FAILURE, 31.0)
    assert (here.state(60.9), here.state(61.0)) == (OPEN, HALF_OPEN)
    attempt(here, SUCCESS, 61.0)  # the success of before does not count any more
    assert here.state(61.0) is HALF_OPEN


def test_a_probe_whose_client_hung_up_makes_way_for_the_next() -> None:
    here = opened()
    attempt(here, NEITHER, 30.0)
    assert here.state(30.0) is HALF_OPEN
    assert here.admits(30.0)


@pytest.mark.parametrize("verdict", [FAILURE, SUCCESS])
def test_requests_that_left_before_it_opened_change_nothing(verdict: Verdict) -> None:
    here = opened(at=10.0)
    here.arrive(verdict, 20.0, 9.0)
    assert (here.state(20.0), here.opened_at) == (OPEN, 10.0)
    here.depart(40.0)
    here.arrive(verdict, 41.0, 9.0)
    assert not here.admits(41.0), "the probe is still under way"


def test_requests_that_left_before_it_closed_do_not_open_it() -> None:
    here = opened()
    for at in (30.0, 31.0):
        attempt(here, SUCCESS, at)
    for _ in range(9):
        here.arrive(FAILURE, 32.0, 30.5)
    assert here.state(32.0) is CLOSED


def test_when_nobody_else_can_a_request_is_an_early_probe() -> None:
    here = opened()
    here.depart(5.0)
    assert here.state(5.0) is HALF_OPEN
    here.arrive(FAILURE, 6.0, 5.0)
    assert (here.state(35.9), here.state(36.0)) == (OPEN, HALF_OPEN)


def test_another_process_starts_with_a_closed_one() -> None:
    here = opened()
    here.reset()
    assert here.admits(0.0)
    assert here.state(0.0) is CLOSED


@given(
    st.lists(
        st.tuples(st.sampled_from(Verdict), st.floats(0, 20), st.floats(0, 5)),
        max_size=60,
    ),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_it_never_gets_stuck(
    steps: list[tuple[Verdict, float, float]], failures: int, successes: int
) -> None:
    """Whatever happened, after its time it lets a request in, and enough good ones close it."""
    here = breaker(failures=failures, open_s=10.0, successes=successes)
    now = 0.0
    for verdict, pause_s, takes_s in steps:
        now += pause_s
        here.depart(now)
        left_at, now = now, now + takes_s
        here.arrive(verdict, now, left_at)
        assert here.closed == (here.state(now) is CLOSED)
    for _ in range(successes):
        now += 10.0
        assert here.admits(now)
        attempt(here, SUCCESS, now)
    assert here.state(now) is CLOSED
