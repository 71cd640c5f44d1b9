"""The lane: places in flight, the line of those who wait, and that nobody is forgotten in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import QueueFullError, UnavailableError
from common.routing_config import BreakerConfig
from engines.base import EngineStatus, State
from router.breaker import Verdict
from router.call import NO_CALL, Call
from router.policies.base import L
from router.policies.least_loaded import LeastLoaded
from router.replicas import Lane, Replica

READY = EngineStatus(State.READY, url="http://127.0.0.1:1", pid=1)


def replicas(count: int, max_in_flight: int = 1, state: State = State.READY) -> list[Replica]:
    return [Replica(f"m-{i}", "m", max_in_flight, state=state) for i in range(count)]


def lane(members: list[Replica], *, max_queued: int = 100, queue_timeout_s: float = 5.0) -> Lane:
    return Lane("m", members, LeastLoaded(), max_queued=max_queued, queue_timeout_s=queue_timeout_s)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


async def settle() -> None:
    """Lets everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def waiting(lane: Lane, count: int, exclude: list[Replica] | None = None) -> list[Any]:
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(lane.acquire(exclude or [])))
        await asyncio.sleep(0)
    return tasks


# Places


def test_acquire_counts_and_release_gives_back() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=2)
        here = lane(members)
        taken = [await here.acquire() for _ in range(4)]
        assert (one.in_flight, two.in_flight) == (2, 2)
        assert sorted(replica.id for replica in taken) == ["m-0", "m-0", "m-1", "m-1"]
        here.release(one)
        assert (one.in_flight, one.served, two.in_flight, two.served) == (1, 1, 2, 0)
        assert await here.acquire() is one

    run(work())


def test_only_ready_replicas_are_picked() -> None:
    async def work() -> None:
        members = replicas(len(State), max_in_flight=9)
        for replica, state in zip(members, State, strict=True):
            replica.state = state
        here = lane(members)
        assert {(await here.acquire()).state for _ in range(5)} == {State.READY}

    run(work())


def test_excluded_replicas_are_not_picked() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=9)
        here = lane(members)
        assert [await here.acquire([one]) for _ in range(3)] == [two, two, two]
        assert here.has_ready([one])
        assert not here.has_ready([one, two])
        with pytest.raises(UnavailableError, match="model 'm' has no ready replica"):
            await here.acquire([one, two])

    run(work())


def test_a_replica_that_was_unloaded_comes_back_as_a_new_one_and_not_as_a_restart() -> None:
    async def work() -> None:
        (one,) = members = replicas(1)
        here = lane(members)
        here.report(one, EngineStatus(State.READY, url="http://x", pid=7))
        here.report(one, EngineStatus(State.COLD))
        assert (one.pid, one.url) == (0, None)
        assert not here.has_ready()
        with pytest.raises(UnavailableError, match="cold"):
            await here.acquire()
        here.report(one, EngineStatus(State.READY, url="http://x", pid=8))
        assert (one.pid, one.restarts) == (8, 0)
        here.report(one, EngineStatus(State.READY, url="http://x", pid=9))
        assert one.restarts == 1

    run(work())


# When nobody can take it


def test_with_no_ready_replica_the_refusal_says_what_they_are_doing() -> None:
    async def work() -> None:
        one, two = members = replicas(2, state=State.LOADING)
        one.phase = "loading weights 40%"
        two.state, two.error = State.FAILED, "CUDA out of memory"
        two.error_code = "out_of_memory"
        with pytest.raises(UnavailableError) as refused:
            await lane(members).acquire()
        assert refused.value.message == (
            "model 'm' has no ready replica: "
            "failed (CUDA out of memory); loading (loading weights 40%)"
        )
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
        assert refused.value.code == "out_of_memory"
        assert UnavailableError.code == "model_unavailable"

    run(work())


def test_a_refusal_without_a_known_cause_keeps_its_own_code() -> None:
    async def work() -> None:
        with pytest.raises(UnavailableError) as refused:
            await lane(replicas(1, state=State.STARTING)).acquire()
        assert refused.value.message == "model 'm' has no ready replica: starting"
        assert refused.value.code == "model_unavailable"

    run(work())


def test_past_max_queued_the_line_is_full() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members, max_queued=2)
        await here.acquire()
        tasks = await waiting(here, 2)
        assert here.queued == 2
        with pytest.raises(QueueFullError) as refused:
            await here.acquire()
        assert (refused.value.status, refused.value.retry_after_s) == (429, 5)
        assert "2 requests waiting already (server.max_queued is 2)" in refused.value.message
        assert here.queued == 2
        for _ in tasks:
            here.release(members[0])
            await settle()
        assert [task.result() for task in tasks] == members * 2

    run(work())


def test_with_no_line_at_all_a_full_model_refuses_and_a_free_one_serves() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members, max_queued=0)
        await here.acquire()
        with pytest.raises(QueueFullError):
            await here.acquire()
        here.release(members[0])
        assert await here.acquire() is members[0]

    run(work())


def test_waiting_too_long_is_unavailable_and_leaves_the_line() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members, queue_timeout_s=0.02)
        await here.acquire()
        with pytest.raises(UnavailableError) as refused:
            await here.acquire()
        assert refused.value.message == "model 'm' was busy for 0.02 s (server.queue_timeout)"
        assert (refused.value.status, refused.value.retry_after_s) == (503, 5)
        assert here.queued == 0
        here.release(members[0])
        await settle()
        assert members[0].in_flight == 0
        assert await here.acquire() is members[0]

    run(work())


# The line


def test_the_line_is_first_come_first_served() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        order: list[int] = []

        async def request(number: int) -> None:
            await here.acquire()
            order.append(number)
            await asyncio.sleep(0)
            here.release(members[0])

        tasks = [asyncio.create_task(request(i)) for i in range(20)]
        await settle()
        assert here.queued == 20
        here.release(members[0])
        await asyncio.gather(*tasks)
        assert order == list(range(20))
        assert (here.queued, members[0].in_flight, members[0].served) == (0, 0, 21)

    run(work())


def test_a_newcomer_does_not_jump_the_line() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        (first,) = await waiting(here, 1)
        here.release(members[0])  # `first` has not run yet, and there is room
        newcomer = asyncio.create_task(here.acquire())
        await settle()
        assert first.done()
        assert not newcomer.done()
        here.release(members[0])
        assert await newcomer is members[0]

    run(work())


@pytest.mark.parametrize("freed", [2, 3, 5])
def test_places_that_come_free_at_once_all_go_to_the_line(freed: int) -> None:
    async def work() -> None:
        members = replicas(1, max_in_flight=freed)
        here = lane(members)
        for _ in range(freed):
            await here.acquire()
        tasks = await waiting(here, freed + 1)
        for _ in range(freed):
            here.release(members[0])
        await settle()
        assert [task.done() for task in tasks] == [True] * freed + [False]
        assert [task.result() for task in tasks[:freed]] == members * freed
        assert members[0].in_flight == freed
        here.release(members[0])
        assert await tasks[-1] is members[0]

    run(work())


def test_a_replica_that_comes_up_takes_those_who_wait() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=2)
        two.state = State.LOADING
        here = lane(members)
        for _ in range(2):
            await here.acquire()
        tasks = await waiting(here, 2)
        two.update(READY)
        here.wake()
        await settle()
        assert [task.result() for task in tasks] == [two, two]
        assert (one.in_flight, two.in_flight) == (2, 2)

    run(work())


def test_those_who_wait_are_told_when_the_last_replica_goes() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        tasks = await waiting(here, 3)
        members[0].lost()
        here.wake()
        await settle()
        for task in tasks:
            with pytest.raises(UnavailableError, match=r"starting \(waiting for its process\)"):
                await task
        assert here.queued == 0

    run(work())


def test_reports_without_room_leave_everybody_in_place() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        tasks = await waiting(here, 3)
        for _ in range(5):
            here.wake()
            here.wake()
            await settle()
        assert here.queued == 3
        for task in tasks:
            here.release(members[0])
            assert await task is members[0]

    run(work())


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_waiter_that_leaves_makes_way(gone: int) -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        tasks = await waiting(here, 3)
        tasks[gone].cancel()
        await settle()
        assert here.queued == 2
        left = [task for task in tasks if not task.cancelled()]
        for task in left:
            here.release(members[0])
            assert await task is members[0]
        assert members[0].in_flight == 1

    run(work())


def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        first, second = await waiting(here, 2)
        here.release(members[0])  # it is the first one's turn, which has not run yet
        first.cancel()
        await settle()
        assert first.cancelled()
        assert second.result() is members[0]
        assert (members[0].in_flight, here.queued) == (1, 0)

    run(work())


def test_a_place_of_an_excluded_replica_is_no_place() -> None:
    async def work() -> None:
        one, two = members = replicas(2)
        here = lane(members)
        await here.acquire()
        await here.acquire()
        (task,) = await waiting(here, 1, exclude=[one])
        here.release(one)
        await settle()
        assert not task.done()
        here.release(two)
        assert await task is two

    run(work())


def test_one_who_waits_for_a_certain_replica_does_not_hold_up_the_others() -> None:
    async def work() -> None:
        one, two = members = replicas(2)
        here = lane(members)
        await here.acquire()
        await here.acquire()
        (picky,) = await waiting(here, 1, exclude=[one])
        (modest,) = await waiting(here, 1)
        here.release(one)
        assert await modest is one
        here.release(one)
        assert await here.acquire() is one
        assert not picky.done()
        here.release(two)
        assert await picky is two

    run(work())


# Anything that may happen, in any order


class Shed:
    """Requests that come, wait, work, leave; replicas that go and come back. Checks as it goes."""

    def __init__(self, seed: int, n_replicas: int, max_in_flight: int) -> None:
        self.random = random.Random(seed)
        self.members = replicas(n_replicas, max_in_flight)
        self.lane = lane(self.members)
        self.served = self.cancelled = self.refused = 0

    async def request(self) -> None:
        exclude = self.random.sample(self.members, self.random.choice([0, 0, 0, 1]))
        try:
            replica = await self.lane.acquire(exclude)
        except UnavailableError:
            self.refused += 1
            return
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        try:
            assert replica not in exclude
            assert replica.in_flight <= replica.max_in_flight
            await self.pause()
        finally:
            self.lane.release(replica)
            self.served += 1

    async def pause(self) -> None:
        for _ in range(self.random.randint(0, 6)):
            await asyncio.sleep(0)

    async def weather(self) -> None:
        while True:
            await self.pause()
            replica = self.random.choice(self.members)
            if self.random.random() < 0.3:
                replica.lost()
            else:
                replica.update(READY)
            self.lane.wake()
            await asyncio.sleep(0)

    async def play(self, n_requests: int, cancel_share: float) -> None:
        weather = asyncio.create_task(self.weather())
        tasks = []
        for _ in range(n_requests):
            tasks.append(asyncio.create_task(self.request()))
            if self.random.random() < 0.5:
                await self.pause()
            if self.random.random() < cancel_share:
                self.random.choice(tasks).cancel()
        await self.calm(weather)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        wrong = [e for e in ends if e is not None and not isinstance(e, asyncio.CancelledError)]
        assert wrong == []

    async def calm(self, weather: asyncio.Task[None]) -> None:
        weather.cancel()
        for replica in self.members:
            replica.update(READY)
        self.lane.wake()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    n_replicas=st.integers(2, 4),
    max_in_flight=st.integers(1, 3),
    cancel_share=st.sampled_from([0.0, 0.2, 0.6]),
)
def test_nothing_is_lost_whatever_happens(
    seed: int, n_replicas: int, max_in_flight: int, cancel_share: float
) -> None:
    async def work() -> None:
        shed = Shed(seed, n_replicas, max_in_flight)
        await shed.play(60, cancel_share)
        assert [replica.in_flight for replica in shed.members] == [0] * n_replicas
        assert sum(replica.served for replica in shed.members) == shed.served
        assert shed.lane.queued == 0
        if not cancel_share:
            assert shed.served + shed.refused == 60

    run(work())


# A replica's report


def test_a_report_is_taken_over() -> None:
    (replica,) = replicas(1, state=State.STARTING)
    replica.update(
        EngineStatus(State.LOADING, "loading weights", pid=7, started_at=3.0, max_model_len=None)
    )
    assert (replica.state, replica.phase, replica.pid) == (State.LOADING, "loading weights", 7)
    replica.update(
        EngineStatus(
            State.READY,
            url="http://127.0.0.1:9",
            pid=7,
            started_at=3.0,
            ready_after_s=2.5,
            max_model_len=2048,
        )
    )
    assert (replica.state, replica.phase, replica.url) == (State.READY, "", "http://127.0.0.1:9")
    assert (replica.ready_after_s, replica.max_model_len, replica.restarts) == (2.5, 2048, 0)


def test_another_process_than_before_is_a_restart() -> None:
    (replica,) = replicas(1)
    for pid in (7, 7, 0, 8, 8, 9):
        replica.update(EngineStatus(State.READY, pid=pid))
    assert (replica.restarts, replica.pid) == (2, 9)


def test_a_lost_replica_has_no_url_and_comes_back_with_its_next_report() -> None:
    (replica,) = replicas(1)
    replica.update(READY)
    replica.lost()
    assert (replica.state, replica.url) == (State.STARTING, None)
    assert replica.phase == "waiting for its process"
    replica.update(READY)
    assert (replica.state, replica.url, replica.restarts) == (State.READY, READY.url, 0)


def test_a_restart_empties_the_policys_memory_and_closes_the_breaker() -> None:
    class Forgetful(LeastLoaded):
        forgot: ClassVar[list[str]] = []

        def forget(self, replica_id: str) -> None:
            self.forgot.append(replica_id)

    members = replicas(2)
    here = Lane("m", members, Forgetful(), max_queued=9, queue_timeout_s=1)
    for pid in (1, 1, 2):
        break_down(here, members[0])
        here.report(members[0], EngineStatus(State.READY, url=READY.url, pid=pid))
        assert members[0].breaker.closed == (pid == 2)
    assert Forgetful.forgot == ["m-0"]
    here.report(members[1], None)
    assert members[1].state is State.STARTING


class Told(LeastLoaded):
    """Writes down what it hears of caches."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []

    def provision(self, replica_id: str, kv_tokens: int) -> None:
        self.heard.append((f"{replica_id} holds", kv_tokens))

    def observe(self, replica_id: str, hit_ratio: float) -> None:
        self.heard.append((f"{replica_id} found", hit_ratio))

    def forget(self, replica_id: str) -> None:
        self.heard.append((f"{replica_id} restarted", 0))


def counted(queries: int, hits: int, pid: int = 1) -> EngineStatus:
    return EngineStatus(
        State.READY, url=READY.url, pid=pid, prefix_queries=queries, prefix_hits=hits
    )


def test_the_policy_hears_what_engines_say_of_their_caches() -> None:
    policy, members = Told(), replicas(2)
    here = Lane("m", members, policy, max_queued=9, queue_timeout_s=1)
    here.report(members[0], EngineStatus(State.READY, url=READY.url, pid=1, kv_tokens=4096))
    here.report(members[1], EngineStatus(State.READY, url=READY.url, pid=1, kv_tokens=0))
    here.report(members[1], READY)
    here.report(members[1], None)
    assert policy.heard == [("m-0 holds", 4096), ("m-1 holds", 0)]


def test_the_policy_hears_the_share_that_was_found_since_it_was_told_last() -> None:
    policy, members = Told(), replicas(2)
    here = Lane("m", members, policy, max_queued=9, queue_timeout_s=1)
    for queries, hits in ((5_000, 5_000), (5_100, 5_000), (15_000, 7_500), (25_000, 17_500)):
        here.report(members[0], counted(queries, hits))
    assert policy.heard == [("m-0 found", 0.25), ("m-0 found", 1.0)]


def test_a_restarted_replicas_counters_begin_anew() -> None:
    policy, members = Told(), replicas(1)
    here = Lane("m", members, policy, max_queued=9, queue_timeout_s=1)
    here.report(members[0], counted(0, 0))
    here.report(members[0], counted(10_000, 5_000))
    here.report(members[0], counted(30_000, 100, pid=2))
    here.report(members[0], counted(40_000, 10_100, pid=2))
    assert policy.heard == [("m-0 found", 0.5), ("m-0 restarted", 0), ("m-0 found", 1.0)]


# Breakers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def guarded(members: list[Replica], clock: Clock) -> Lane:
    config = BreakerConfig(failures=1, open=30.0, successes=1)
    policy = LeastLoaded()
    return Lane("m", members, policy, max_queued=9, queue_timeout_s=1, breaker=config, clock=clock)


def break_down(here: Lane, replica: Replica) -> None:
    for _ in range(replica.breaker.config.failures):
        replica.breaker.arrive(Verdict.FAILURE, here.clock(), here.clock())


def test_an_open_breaker_is_passed_over_until_its_time_has_come() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=9)
        clock = Clock()
        here = guarded(members, clock)
        await here.acquire()
        here.release(one, verdict=Verdict.FAILURE, departed_at=clock.now)
        assert [await here.acquire() for _ in range(4)] == [two] * 4
        clock.now += 30
        assert [await here.acquire() for _ in range(3)] == [one, two, two], "one probe at a time"
        here.release(one, verdict=Verdict.SUCCESS, departed_at=clock.now)
        assert one.breaker.closed
        assert [await here.acquire() for _ in range(3)] == [one] * 3

    run(work())


def test_a_full_healthy_replica_is_waited_for_rather_than_an_open_one_asked() -> None:
    async def work() -> None:
        one, two = members = replicas(2)
        here = guarded(members, Clock())
        break_down(here, one)
        assert await here.acquire() is two
        (waits,) = await waiting(here, 1)
        assert not waits.done()
        here.release(two)
        assert await waits is two

    run(work())


def test_when_all_are_open_the_one_that_rested_longest_is_tried() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=9)
        clock = Clock()
        here = guarded(members, clock)
        for replica in (two, one):
            break_down(here, replica)
            clock.now += 1
        assert not here.can_serve()
        assert here.has_ready()
        assert await here.acquire() is two
        here.release(two, verdict=Verdict.FAILURE, departed_at=clock.now)
        clock.now += 1
        assert await here.acquire() is one
        here.release(one, verdict=Verdict.SUCCESS, departed_at=clock.now)
        assert one.breaker.closed

    run(work())


def test_a_waiter_that_leaves_with_the_probe_in_hand_gives_it_back() -> None:
    async def work() -> None:
        members = replicas(1)
        clock = Clock()
        here = guarded(members, clock)
        await here.acquire()
        (leaving,) = await waiting(here, 1)
        break_down(here, members[0])
        clock.now += 30
        here.release(members[0])
        leaving.cancel()
        await settle()
        assert here.can_serve()
        assert members[0].in_flight == 0

    run(work())


def test_only_a_healthy_replica_with_room_now_is_had_without_waiting() -> None:
    async def work() -> None:
        one, two = members = replicas(2)
        here = guarded(members, Clock())
        assert await here.acquire() is one
        assert here.try_acquire([one]) is two
        assert here.try_acquire([one]) is None, "it is full"
        here.release(two)
        break_down(here, two)
        assert here.try_acquire([one]) is None, "its breaker is open"
        assert here.try_acquire(members) is None
        assert (one.in_flight, two.in_flight) == (1, 0)

    run(work())


# What is known of a request


def test_the_tokens_of_requests_in_flight_are_counted() -> None:
    async def work() -> None:
        one, two = members = replicas(2, max_in_flight=9)
        here = lane(members)
        long, short = Call(n_tokens=5000), Call(n_tokens=10)
        assert await here.acquire(call=long) is one
        assert [await here.acquire(call=short) for _ in range(2)] == [two, two]
        assert (one.tokens_in_flight, two.tokens_in_flight) == (5000, 20)
        here.release(one, long)
        here.release(two, short)
        assert (one.tokens_in_flight, two.tokens_in_flight) == (0, 10)

    run(work())


def test_a_waiters_tokens_are_counted_from_its_turn_on() -> None:
    async def work() -> None:
        members = replicas(1)
        here = lane(members)
        await here.acquire()
        call = Call(n_tokens=7)
        stays, leaves = (asyncio.create_task(here.acquire(call=call)) for _ in range(2))
        await settle()
        assert members[0].tokens_in_flight == 0
        here.release(members[0])
        assert await stays is members[0]
        assert members[0].tokens_in_flight == 7
        here.release(members[0], call)
        leaves.cancel()
        await settle()
        assert (members[0].tokens_in_flight, members[0].in_flight) == (0, 0)

    run(work())


def test_the_policy_is_told_of_the_request() -> None:
    class Curious(LeastLoaded):
        seen: ClassVar[list[Call]] = []

        def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
            self.seen.append(call)
            return super().pick(replicas, call)

    async def work() -> None:
        here = Lane("m", replicas(1), Curious(), max_queued=9, queue_timeout_s=1)
        call = Call(n_tokens=3, session="s")
        await here.acquire(call=call)
        (task,) = [asyncio.create_task(here.acquire(call=call))]
        await settle()
        here.release(here.replicas[0], call)
        await task
        assert Curious.seen == [call, call]

    run(work())
