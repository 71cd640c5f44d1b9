"""Whatever the policy: the sick are passed over while one is sound, and nobody gets too much."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import QueueFullError, UnavailableError
from common.routing_config import BreakerConfig
from engines.base import State
from router.breaker import Verdict
from router.call import Call
from router.policies import POLICIES
from router.policies.load import BOUND
from router.replicas import Lane, Replica
from tests.router.policies.loads import call, calls, replicas, spread

NOW_S = 100.0


@dataclass(frozen=True)
class Health:
    state: State
    tripped: bool
    excluded: bool
    in_flight: int


healths = st.builds(
    Health,
    state=st.sampled_from(State),
    tripped=st.booleans(),
    excluded=st.booleans(),
    in_flight=st.integers(0, 3),
)
groups = st.lists(healths, min_size=1, max_size=6)


def lane(policy: str, members: list[Replica]) -> Lane:
    """Without a line: who cannot be served at once is refused."""
    return Lane(
        "m",
        members,
        POLICIES[policy](),
        max_queued=0,
        queue_timeout_s=1.0,
        breaker=BreakerConfig(failures=1, open=30.0),
        clock=lambda: NOW_S,
    )


def become(replica: Replica, health: Health) -> None:
    replica.state, replica.in_flight = health.state, health.in_flight
    replica.breaker.reset()
    if health.tripped:
        replica.breaker.arrive(Verdict.FAILURE, NOW_S, NOW_S)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@settings(max_examples=60)
@given(rounds=st.lists(st.tuples(groups, calls), min_size=1, max_size=6))
def test_nobody_unhealthy_or_full_is_picked_while_somebody_is_healthy(
    policy: str, rounds: list[tuple[list[Health], Call]]
) -> None:
    """Health changes from one request to the next; what the policy remembers does not matter."""
    members = [Replica(f"m-{n}", "m", 3) for n in range(max(len(group) for group, _ in rounds))]
    here = lane(policy, members)
    for group, asked in rounds:
        for replica in members:
            replica.state = State.STARTING
        for replica, health in zip(members, group, strict=False):
            become(replica, health)
        excluded = [r for r, health in zip(members, group, strict=False) if health.excluded]
        ready = [r for r in members if r.state is State.READY and r not in excluded]
        sound = [replica for replica in ready if replica.breaker.closed]
        with_room = [replica for replica in sound or ready if replica.in_flight < 3]
        picked = picked_by(here, excluded, asked)
        if with_room and sound:
            assert picked in with_room
        elif not ready:
            assert picked is UnavailableError
        elif sound:
            assert picked is QueueFullError, "sound ones are full: it is no time for a sick one"
        else:
            assert picked in [*with_room, QueueFullError]


def picked_by(here: Lane, excluded: list[Replica], asked: Call) -> Replica | type[Exception]:
    try:
        return asyncio.run(here.acquire(excluded, asked))
    except (UnavailableError, QueueFullError) as error:
        return type(error)


BOUNDED = ("prefix_aware", "session", "least_loaded")


@pytest.mark.parametrize("policy", BOUNDED)
@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 30), n_replicas=st.integers(1, 8))
def test_those_that_promise_it_keep_within_the_bound_while_requests_come_and_go(
    policy: str, seed: int, n_replicas: int
) -> None:
    rng, picks, members = random.Random(seed), POLICIES[policy](), replicas(n_replicas)
    for _ in range(200):
        busy = [load for load in members if load.in_flight]
        if busy and rng.random() < 0.4:
            rng.choice(busy).in_flight -= 1
            continue
        before = sum(load.in_flight for load in members) / n_replicas
        hot = rng.choice([0, 0, 0, 1, 2])
        picked = picks.pick(members, call(*range(8 * hot, 8 * hot + 8), session=str(hot)))
        picked.in_flight += 1
        assert picked.in_flight <= max(1.0, BOUND * before) + 1


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_prompts_with_nothing_in_common_spread(policy: str) -> None:
    members, picks = replicas(4), POLICIES[policy]()
    given_to = {load.id: 0 for load in members}
    for number in range(800):
        asked = call(*range(100 * number, 100 * number + 12), session=str(number))
        picked = picks.pick(members, asked)
        picked.served += 1
        given_to[picked.id] += 1
    assert spread(list(given_to.values())) <= 1.25
