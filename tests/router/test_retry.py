"""Whether, on whom, and after what pause a request is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import (
    BadRequestError,
    ContextTooLongError,
    EngineConnectError,
    EngineDeadError,
    EngineDisconnectError,
    EngineError,
    EngineOverloadedError,
    EngineTimeoutError,
    OutOfMemoryError,
    RoundhouseError,
)
from common.routing_config import RETRY_TRIGGERS, RetryConfig
from engines.base import State
from router.breaker import Verdict
from router.policies.least_loaded import LeastLoaded
from router.replicas import Lane, Replica
from router.retry import Again, again, backoff_s, is_budgeted

FAILURES: list[RoundhouseError] = [
    kind("it failed")
    for kind in (
        EngineError,
        EngineConnectError,
        EngineDisconnectError,
        EngineDeadError,
        EngineTimeoutError,
        EngineOverloadedError,
        OutOfMemoryError,
    )
]


def lane(count: int) -> Lane:
    members = [Replica(f"m-{i}", "m", 4, state=State.READY) for i in range(count)]
    return Lane("m", members, LeastLoaded(), max_queued=9, queue_timeout_s=1)


def step(
    failure: RoundhouseError,
    here: Lane,
    tried: list[int],
    asked_pause_s: float | None = None,
    has_stand_in: bool = False,
    **config: object,
) -> Again | None:
    replicas = [here.replicas[i] for i in tried]
    settings = RetryConfig.model_validate(config)
    return again(
        settings, failure, replicas, here, asked_pause_s=asked_pause_s, has_stand_in=has_stand_in
    )


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_another_replica_is_tried_at_once(failure: RoundhouseError) -> None:
    here = lane(2)
    assert step(failure, here, [0]) == Again([here.replicas[0]], 0.0)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_trigger_that_is_not_named_is_final(failure: RoundhouseError) -> None:
    others = [trigger for trigger in RETRY_TRIGGERS if trigger != failure.trigger]
    assert step(failure, lane(2), [0], on=others) is None
    assert step(failure, lane(2), [0], on=[failure.trigger]) is not None


def test_what_has_no_trigger_is_final() -> None:
    assert step(BadRequestError("no"), lane(2), [0]) is None


def test_another_replica_has_no_longer_context() -> None:
    assert step(ContextTooLongError("long"), lane(2), [0], on=["context_too_long"]) is None


@pytest.mark.parametrize(("most", "tried"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])])
def test_max_is_the_number_of_further_attempts(most: int, tried: list[int]) -> None:
    failure = EngineError("boom")
    assert step(failure, lane(4), tried, max=most) is None
    assert step(failure, lane(4), tried, max=most + 1) is not None


@pytest.mark.parametrize("kind", [EngineError, EngineTimeoutError, OutOfMemoryError])
def test_the_same_is_not_asked_again_where_it_would_not_help(kind: type[EngineError]) -> None:
    assert step(kind("no"), lane(1), [0]) is None


def test_a_broken_connection_is_tried_once_more_with_the_same() -> None:
    here, failure = lane(2), EngineDisconnectError("cut")
    assert step(failure, here, [0, 1]) == Again([here.replicas[0]], 0.1)
    assert step(failure, here, [0, 0]) == Again([here.replicas[0]] * 2, 0.0)
    alone = lane(1)
    assert step(failure, alone, [0]) == Again([], 0.1)
    assert step(failure, alone, [0, 0], max=9) is None


def test_a_busy_one_is_asked_again_when_it_said_to() -> None:
    here, failure = lane(1), EngineOverloadedError("busy")
    assert step(failure, here, [0], 1.5) == Again([], 1.6)
    assert step(failure, here, [0, 0], 0.0) == Again([], 0.2)
    assert step(failure, here, [0], 2.1) is None, "the client is told instead"
    assert step(failure, here, [0], None) is None, "nobody knows when"


def test_an_open_breaker_is_the_last_resort_and_after_another_model() -> None:
    here, failure = lane(2), EngineError("boom")
    open_up(here.replicas[1])
    assert step(failure, here, [0]) == Again([here.replicas[0]])
    assert step(failure, here, [0], has_stand_in=True) is None
    broken = EngineDisconnectError("cut")
    assert step(broken, here, [0]) == Again([], 0.1), "the same one is in better health"
    assert step(broken, here, [0, 0]) == Again([here.replicas[0]] * 2)


def open_up(replica: Replica) -> None:
    for _ in range(replica.breaker.config.failures):
        replica.breaker.arrive(Verdict.FAILURE, 1e9, 1e9)
    assert not replica.breaker.closed


def test_who_leaves_what_is_gone_needs_no_budget() -> None:
    assert {type(failure).__name__ for failure in FAILURES if not is_budgeted(failure)} == {
        "EngineConnectError",
        "EngineDisconnectError",
        "EngineDeadError",
    }


@given(st.integers(1, 50), st.floats(0, 1))
def test_the_pause_doubles_up_to_its_limit_and_is_jittered_by_half(
    attempts: int, roll: float
) -> None:
    config = RetryConfig.model_validate({"backoff": "100ms", "backoff_max": "2s"})
    whole = min(0.1 * 2 ** (attempts - 1), 2.0)
    assert whole / 2 <= backoff_s(config, attempts, roll) <= whole
    assert backoff_s(config, attempts, 1.0) == whole
