"""Prompts go to where they are cached, as long as that is no more loaded than the bound lets."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.call import TOKENS_PER_BLOCK, Call
from router.policies.prefix_aware import PrefixAware
from tests.router.policies.loads import Load, call, calls, replicas, snapshots, spread

SYSTEM = tuple(range(100, 110))


@given(
    asked=st.lists(st.tuples(snapshots, calls), min_size=1, max_size=8), bound=st.floats(1.0, 2.0)
)
def test_bounded_load_holds(asked: list[tuple[list[Load], Call]], bound: float) -> None:
    policy = PrefixAware(bound)
    for snapshot, each in asked:
        picked = policy.pick(snapshot, each)
        mean = sum(load.in_flight for load in snapshot) / len(snapshot)
        assert picked.in_flight <= max(1.0, bound * mean)


@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 30), n_replicas=st.integers(1, 8))
def test_no_replica_is_ever_far_above_the_mean_while_requests_come_and_go(
    seed: int, n_replicas: int
) -> None:
    rng, policy, members = random.Random(seed), PrefixAware(1.25), replicas(n_replicas)
    for _ in range(200):
        busy = [load for load in members if load.in_flight]
        if busy and rng.random() < 0.4:
            rng.choice(busy).in_flight -= 1
            continue
        before = sum(load.in_flight for load in members) / n_replicas
        picked = policy.pick(members, call(*SYSTEM, rng.randint(0, 3)))
        picked.in_flight += 1
        assert picked.in_flight <= max(1.0, 1.25 * before) + 1


def test_a_conversation_stays_with_its_replica() -> None:
    members, policy = replicas(4), PrefixAware()
    homes: dict[int, set[str]] = {}
    for turn in range(1, 9):
        for talk in range(12):
            blocks = [1000 * talk + block for block in range(3 * turn)]
            homes.setdefault(talk, set()).add(policy.pick(members, call(*blocks)).id)
    assert all(len(seen) == 1 for seen in homes.values())
    assert Counter(min(seen) for seen in homes.values()) == {f"m-{n}": 3 for n in range(4)}


def test_a_conversation_stays_even_where_the_others_were_given_less_lately() -> None:
    """One client alone: moving it would empty its cache for nobody's good."""
    members, policy = replicas(2), PrefixAware()
    homes = {policy.pick(members, call(*range(2 * turn))).id for turn in range(1, 40)}
    assert len(homes) == 1


def test_a_conversation_moves_when_its_replica_is_too_loaded() -> None:
    members, policy = replicas(2), PrefixAware()
    home = policy.pick(members, call(1, 2, 3))
    home.in_flight = 5
    other = next(load for load in members if load is not home)
    other.in_flight = 1
    assert policy.pick(members, call(1, 2, 3, 4)) is other
    other.in_flight = 4
    assert policy.pick(members, call(1, 2, 3, 4)) is other  # who has more of it now


def test_a_system_prompt_of_all_does_not_draw_all_to_one() -> None:
    members, policy = replicas(4), PrefixAware()
    given_to = Counter(policy.pick(members, call(*SYSTEM, 1000 + n)).id for n in range(400))
    assert len(given_to) == 4
    assert spread(list(given_to.values())) <= 1.25


def test_system_prompts_are_divided_among_the_replicas_while_that_is_even() -> None:
    members, policy, homes = replicas(2), PrefixAware(), {0: Counter[str](), 1: Counter[str]()}
    rng = random.Random(0)
    for number, kind in enumerate(k for _ in range(200) for k in rng.sample([0, 1], 2)):
        blocks = [kind * 100 + block for block in range(10)]
        homes[kind][policy.pick(members, call(*blocks, 1000 + number)).id] += 1
    at_home = sum(counted.most_common(1)[0][1] for counted in homes.values())
    assert homes[0].most_common(1)[0][0] != homes[1].most_common(1)[0][0]
    assert at_home >= 0.9 * 400


def test_a_short_match_is_not_worth_a_queue() -> None:
    members, policy = replicas(2), PrefixAware(least_match=0.5)
    home = policy.pick(members, call(*range(4)))
    home.in_flight = 1
    assert policy.pick(members, call(*range(3), 50)) is home
    assert policy.pick(members, call(*range(2), *range(60, 80))) is not home


def test_a_prompt_that_nobody_knows_goes_to_the_least_loaded() -> None:
    busy, idle = Load("a", 2), Load("b", 1)
    assert PrefixAware().pick([busy, idle], call(1, 2)) is idle
    assert PrefixAware().pick([busy, idle]) is idle


def test_a_replica_that_restarts_is_forgotten() -> None:
    members, policy, asked = replicas(2), PrefixAware(), call(1, 2, 3)
    home = policy.pick(members, asked)
    assert policy.matched(home.id, asked) == 3
    policy.forget(home.id)
    assert policy.matched(home.id, asked) == 0


def test_what_does_not_fit_into_the_engine_is_not_counted_upon() -> None:
    (only,), policy = replicas(1), PrefixAware()
    policy.provision(only.id, 4 * TOKENS_PER_BLOCK)
    policy.pick([only], call(1, 2, 3))
    policy.pick([only], call(7, 8, 9))
    assert policy.matched(only.id, call(7, 8, 9)) == 3
    assert policy.matched(only.id, call(1, 2, 3)) == 1


def test_an_engine_that_finds_nothing_is_believed() -> None:
    """Prefix caching may be off: then the load alone should count."""
    (only,), policy = replicas(1), PrefixAware()
    matched = []
    for _ in range(40):
        for talk in range(10):
            policy.pick([only], call(*range(talk * 100, talk * 100 + 20)))
        matched.append(policy.matched(only.id, call(*range(20))))
        policy.observe(only.id, 0.0)
    assert matched[0] == 20
    assert matched[-1] == 0


def test_it_counts_how_much_was_believed_to_be_there() -> None:
    (only,), policy = replicas(1), PrefixAware()
    for asked in (call(1, 2), call(1, 2, 3, 4), call()):
        policy.pick([only], asked)
    assert policy.matches.sum == 0.5
    assert dict(policy.matches.cumulative())[0.0] == 1
    assert policy.matches.cumulative()[-1] == (1.0, 2)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_one_that_is_missing_for_a_while_has_its_conversations_back(gone: int) -> None:
    members, policy, asked = replicas(3), PrefixAware(), [call(talk, 1, 2) for talk in range(3)]
    homes = [policy.pick(members, each) for each in asked]
    left = [load for load in members if load is not homes[gone]]
    longer = Call((*asked[gone].blocks, 99), 256)
    assert policy.pick(left, call(5, 6, 7)) in left
    assert policy.pick(members, longer) is homes[gone]
