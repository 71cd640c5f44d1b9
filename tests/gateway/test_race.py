"""Who wins when two replicas are asked the same, and what becomes of the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from common.errors import EngineDeadError, EngineError
from gateway.answer import Answer
from gateway.race import Race
from gateway.upstream import Origin
from router.breaker import Verdict
from router.replicas import Replica

FIRST, SECOND = Replica("first", "m", 1), Replica("second", "m", 1)
Plan = dict[Replica, tuple[float, int | EngineError]]  # after so many seconds this status or error


class Course:
    """A race by plan, and what it did with those who lost."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.settled: list[tuple[Replica, Verdict]] = []
        self.closed: list[Answer] = []
        self.cancelled: list[Replica] = []
        self.race = Race(self.open, self.closed.append, self.settle, FIRST)

    async def open(self, replica: Replica) -> Answer:
        delay_s, outcome = self.plan[replica]
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            self.cancelled.append(replica)
            raise
        if isinstance(outcome, EngineError):
            raise outcome
        return Answer(replica, outcome, [], b"", None, Origin("h", 1, False, ""))

    def settle(self, replica: Replica, verdict: Verdict) -> None:
        self.settled.append((replica, verdict))

    async def run(self, second: Replica | None = SECOND) -> Answer:
        return await self.race.run(0.01, lambda: second)


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(asyncio.wait_for(work, 20))


def test_a_first_in_time_runs_alone() -> None:
    course = Course({FIRST: (0.0, 200)})
    assert run(course.run()).replica is FIRST
    assert (course.race.second, course.settled) == (None, [])


def test_without_a_second_the_first_is_waited_for() -> None:
    course = Course({FIRST: (0.05, 200)})
    assert run(course.run(second=None)).replica is FIRST
    assert course.settled == []


@pytest.mark.parametrize(("winner", "loser"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_the_slower_one_is_given_up(winner: Replica, loser: Replica) -> None:
    course = Course({winner: (0.03, 200), loser: (9, 200)})
    assert run(course.run()).replica is winner
    assert course.race.leader is winner
    assert course.cancelled == [loser]
    assert course.settled == [(loser, Verdict.NEITHER)]


@pytest.mark.parametrize("failure", [500, 503, EngineDeadError("dead")])
@pytest.mark.parametrize(("winner", "loser"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_a_quick_failure_does_not_win(
    winner: Replica, loser: Replica, failure: int | EngineError
) -> None:
    course = Course({winner: (0.08, 200), loser: (0.03, failure)})
    assert run(course.run()).replica is winner
    assert course.race.leader is winner
    assert course.settled == [(loser, Verdict.FAILURE)]


def test_an_answer_that_blames_the_request_wins() -> None:
    course = Course({FIRST: (9, 200), SECOND: (0.0, 422)})
    assert run(course.run()).status == 422


def test_when_both_fail_it_is_the_firsts_failure() -> None:
    course = Course({FIRST: (0.05, EngineDeadError("one")), SECOND: (0.0, EngineDeadError("two"))})
    with pytest.raises(EngineDeadError, match="one"):
        run(course.run())
    assert course.race.leader is FIRST
    assert course.settled == [(SECOND, Verdict.FAILURE)]


def test_an_answer_that_comes_too_late_is_closed() -> None:
    course = Course({FIRST: (0.03, 200), SECOND: (0.02, 200)})

    async def both_done() -> Answer:
        asyncio.get_running_loop().call_later(0.015, _block, 0.05)
        return await course.run()

    answer = run(both_done())
    assert [each.replica for each in course.closed] == [
        SECOND if answer.replica is FIRST else FIRST
    ]


def _block(seconds: float) -> None:
    """Holds the loop up, so that both have answered when it goes on."""
    time.sleep(seconds)


def test_a_request_that_is_cancelled_stops_both() -> None:
    course = Course({FIRST: (9, 200), SECOND: (9, 200)})

    async def work() -> None:
        task = asyncio.create_task(course.run())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert set(course.cancelled) == {FIRST, SECOND}

    asyncio.run(asyncio.wait_for(work(), 20))
    assert course.race.leader is FIRST
    assert course.settled == [(SECOND, Verdict.NEITHER)]
