"""Every policy picks a member, changes nothing, and can be repeated."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.call import NO_CALL, Call
from router.policies import POLICIES
from router.policies.base import Policy
from router.policies.least_loaded import LeastLoaded
from router.policies.load import TOKENS_PER_REQUEST, load_of, within_bound
from router.policies.power_of_two import PowerOfTwo
from router.policies.round_robin import RoundRobin
from tests.router.policies.loads import Load, calls, replicas, snapshots, spread

asked = st.lists(st.tuples(snapshots, calls), min_size=1, max_size=10)


def test_the_config_knows_exactly_the_policies_there_are() -> None:
    from typing import get_args

    from common.config import PolicyName

    assert set(POLICIES) == set(get_args(PolicyName))


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(asked=asked)
def test_the_picked_one_is_always_a_member(name: str, asked: list[tuple[list[Load], Call]]) -> None:
    policy: Policy = POLICIES[name]()
    for snapshot, call in asked:
        picked = policy.pick(snapshot, call)
        assert any(picked is load for load in snapshot)


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(asked=asked)
def test_picking_changes_nothing_about_the_replicas(
    name: str, asked: list[tuple[list[Load], Call]]
) -> None:
    before, policy = deepcopy(asked), POLICIES[name]()
    for snapshot, call in asked:
        policy.pick(snapshot, call)
    assert asked == before


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(asked=asked)
def test_the_same_requests_go_the_same_way_again(
    name: str, asked: list[tuple[list[Load], Call]]
) -> None:
    one, two = POLICIES[name](), POLICIES[name]()
    for snapshot, call in asked:
        assert one.pick(snapshot, call) is two.pick(snapshot, call)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_request_of_which_nothing_is_known_is_served(name: str) -> None:
    members = replicas(3)
    assert POLICIES[name]().pick(members) in members
    assert POLICIES[name]().pick(members[:1], NO_CALL) is members[0]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_what_replicas_do_besides_is_no_error(name: str) -> None:
    policy = POLICIES[name]()
    policy.forget("never-seen")
    policy.provision("never-seen", 1000)
    policy.observe("never-seen", 0.5)
    assert policy.pick(replicas(1)).id == "m-0"


# Load


@given(snapshot=snapshots, bound=st.floats(1.0, 3.0))
def test_within_the_bound_is_who_has_no_more_than_it_and_always_the_least_loaded(
    snapshot: list[Load], bound: float
) -> None:
    within = within_bound(snapshot, bound)
    mean = sum(load.in_flight for load in snapshot) / len(snapshot)
    least = min(load.in_flight for load in snapshot)
    assert within == [load for load in snapshot if load.in_flight <= max(1.0, bound * mean)]
    assert any(load.in_flight == least for load in within)


@given(snapshot=snapshots)
def test_least_loaded_never_picks_a_busier_one(snapshot: list[Load]) -> None:
    picked = LeastLoaded().pick(snapshot)
    assert load_of(picked) == min(load_of(load) for load in snapshot)
    equals = [load for load in snapshot if load_of(load) == load_of(picked)]
    assert picked.served == min(load.served for load in equals)


def test_a_long_prompt_weighs_more_than_a_short_one() -> None:
    long, short = Load("a", 1, 0, 4 * TOKENS_PER_REQUEST), Load("b", 3, 0, 300)
    assert LeastLoaded().pick([long, short]) is short
    assert (load_of(long), load_of(Load("c"))) == (5.0, 0.0)


@given(n_replicas=st.integers(1, 8), n_requests=st.integers(0, 60))
def test_least_loaded_spreads_requests_that_end_at_once(n_replicas: int, n_requests: int) -> None:
    members = replicas(n_replicas)
    for _ in range(n_requests):
        LeastLoaded().pick(members).served += 1
    served = [replica.served for replica in members]
    assert max(served) - min(served) <= 1


# Two at random


@given(snapshot=snapshots, seed=st.integers(0, 1000))
def test_the_most_loaded_of_several_is_never_the_better_of_two(
    snapshot: list[Load], seed: int
) -> None:
    picked = PowerOfTwo(seed).pick(snapshot)
    busier = [load for load in snapshot if load_of(load) >= load_of(picked)]
    assert len(busier) > 1 or len(snapshot) == 1


def test_two_at_random_are_nearly_as_even_as_looking_at_all() -> None:
    members, policy = replicas(16), PowerOfTwo()
    for _ in range(1600):
        policy.pick(members).in_flight += 1
    assert spread([load.in_flight for load in members]) < 1.05


def test_another_seed_draws_others() -> None:
    def drawn(seed: int) -> list[str]:
        policy = PowerOfTwo(seed)
        return [policy.pick(replicas(8)).id for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


# In turn


@given(snapshot=snapshots, data=st.data())
def test_round_robin_is_fair_over_any_run_of_turns(
    snapshot: list[Load], data: st.DataObject
) -> None:
    """The order in which members are listed and their load make no difference."""
    policy = RoundRobin()
    order = st.permutations(snapshot)
    turns = data.draw(st.integers(1, 40))
    picked = [policy.pick(data.draw(order)).id for _ in range(turns)]
    first = data.draw(st.integers(0, turns - 1))
    counted = Counter(picked[first:])
    shares = [counted[load.id] for load in snapshot]
    assert max(shares) - min(shares) <= 1


def test_round_robin_goes_on_from_where_it_was_when_a_member_is_missing() -> None:
    policy, (a, b, c) = RoundRobin(), (Load("a"), Load("b"), Load("c"))
    assert policy.pick([a, b, c]) is a
    assert policy.pick([a, c]) is c
    assert policy.pick([a, b, c]) is a
    assert policy.pick([b]) is b
    assert policy.pick([a, b, c]) is c
