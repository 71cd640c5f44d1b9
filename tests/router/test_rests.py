"""A lane whose provider asks for a pause."""

from __future__ import annotations

import asyncio

import pytest

from common.errors import RestingError
from engines.base import EngineStatus, State
from router.policies import POLICIES
from router.replicas import Lane, Replica


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lane(clock: Clock, n: int = 1) -> Lane:
    replicas = [Replica(f"m-{i}", "m", 8) for i in range(n)]
    made = Lane(
        "m", replicas, POLICIES["round_robin"](), max_queued=1, queue_timeout_s=1, clock=clock
    )
    for replica in replicas:
        made.report(replica, EngineStatus(State.READY, url="http://a", pid=1))
    return made


def taken(from_lane: Lane) -> str:
    replica = asyncio.run(from_lane.acquire())
    from_lane.release(replica)
    return replica.id


def test_while_it_lasts_nobody_is_sent_there() -> None:
    clock = Clock()
    resting = lane(clock)
    resting.rest(resting.replicas[0], 20)
    clock.now += 8.5
    with pytest.raises(RestingError, match="a pause of 12 s more") as caught:
        taken(resting)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 12)
    assert caught.value.trigger == "overloaded"
    assert not resting.can_serve()
    clock.now += 12
    assert resting.can_serve()
    assert taken(resting) == "m-0"


def test_others_go_on() -> None:
    clock = Clock()
    resting = lane(clock, 2)
    resting.rest(resting.replicas[0], 20)
    assert [taken(resting) for _ in range(3)] == ["m-1"] * 3
    clock.now += 21
    assert {taken(resting) for _ in range(2)} == {"m-0", "m-1"}


def test_no_pause_is_longer_than_a_minute() -> None:
    clock = Clock()
    resting = lane(clock)
    resting.rest(resting.replicas[0], 86_400)
    clock.now += 61
    assert taken(resting) == "m-0"
