"""Every policy picks a member; each of them keeps its own promise."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policies import POLICIES
from router.policies.base import Policy
from router.policies.least_loaded import LeastLoaded
from router.policies.round_robin import RoundRobin


@dataclass
class Load:
    id: str
    in_flight: int = 0
    served: int = 0


counts = st.integers(min_value=0, max_value=1000)
loads = st.builds(Load, id=st.text(min_size=1, max_size=8), in_flight=counts, served=counts)
snapshots = st.lists(loads, min_size=1, max_size=12, unique_by=lambda load: load.id)


def test_the_config_knows_exactly_the_policies_there_are() -> None:
    from typing import get_args

    from common.config import PolicyName

    assert set(POLICIES) == set(get_args(PolicyName))


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(seen=st.lists(snapshots, min_size=1, max_size=10))
def test_the_picked_one_is_always_a_member(name: str, seen: list[list[Load]]) -> None:
    policy: Policy = POLICIES[name]()
    for snapshot in seen:
        picked = policy.pick(snapshot)
        assert any(picked is load for load in snapshot)


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(snapshot=snapshots)
def test_picking_changes_nothing_about_the_replicas(name: str, snapshot: list[Load]) -> None:
    before = [(load.id, load.in_flight, load.served) for load in snapshot]
    POLICIES[name]().pick(snapshot)
    assert [(load.id, load.in_flight, load.served) for load in snapshot] == before


@given(snapshot=snapshots)
def test_least_loaded_never_picks_a_busier_one(snapshot: list[Load]) -> None:
    picked = LeastLoaded().pick(snapshot)
    assert picked.in_flight == min(load.in_flight for load in snapshot)
    equals = [load for load in snapshot if load.in_flight == picked.in_flight]
    assert picked.served == min(load.served for load in equals)


@given(n_replicas=st.integers(1, 8), n_requests=st.integers(0, 60))
def test_least_loaded_spreads_requests_that_end_at_once(n_replicas: int, n_requests: int) -> None:
    replicas = [Load(f"m-{i}") for i in range(n_replicas)]
    for _ in range(n_requests):
        LeastLoaded().pick(replicas).served += 1
    served = [replica.served for replica in replicas]
    assert max(served) - min(served) <= 1


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
