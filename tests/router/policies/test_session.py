"""A session stays where it is; only a change of replicas, or too much load, moves it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.call import Call
from router.policies.session import Session
from tests.router.policies.loads import Load, call, replicas, snapshots, spread

NAMES = [f"session-{number}" for number in range(2000)]


def homes(members: list[Load], names: list[str]) -> dict[str, str]:
    policy = Session()
    return {name: policy.pick(members, Call(session=name)).id for name in names}


@given(n_replicas=st.integers(1, 40), salt=st.integers(0, 1 << 30), gone=st.integers(0, 39))
def test_when_a_replica_goes_only_its_sessions_move(n_replicas: int, salt: int, gone: int) -> None:
    names = [f"{salt}-{number}" for number in range(50)]
    members = replicas(n_replicas + 1)
    left = [load for place, load in enumerate(members) if place != gone % len(members)]
    before, after = homes(members, names), homes(left, names)
    stayed = {load.id for load in left}
    assert all(after[name] == before[name] for name in names if before[name] in stayed)


def test_a_change_moves_about_one_in_n() -> None:
    for count in (2, 3, 8, 32):
        fewer, more = homes(replicas(count - 1), NAMES), homes(replicas(count), NAMES)
        moved = [name for name in NAMES if fewer[name] != more[name]]
        assert {more[name] for name in moved} == {f"m-{count - 1}"}
        # 2,000 sessions: three standard deviations of a share of 1/n.
        tolerance = 3 * (1 / count * (1 - 1 / count) / len(NAMES)) ** 0.5
        assert abs(len(moved) / len(NAMES) - 1 / count) <= tolerance


def test_sessions_spread_over_the_replicas() -> None:
    counted = Counter(homes(replicas(8), NAMES).values())
    assert len(counted) == 8
    assert spread(list(counted.values())) < 1.2


@given(snapshot=snapshots, session=st.text(min_size=1, max_size=20))
def test_the_order_of_the_replicas_makes_no_difference(snapshot: list[Load], session: str) -> None:
    asked = Call(session=session)
    assert Session().pick(snapshot, asked) is Session().pick(snapshot[::-1], asked)


@given(snapshot=snapshots, session=st.text(min_size=1), bound=st.floats(1.0, 2.0))
def test_bounded_load_holds(snapshot: list[Load], session: str, bound: float) -> None:
    picked = Session(bound).pick(snapshot, Call(session=session))
    mean = sum(load.in_flight for load in snapshot) / len(snapshot)
    assert picked.in_flight <= max(1.0, bound * mean)


def test_one_hot_session_overflows_to_the_same_second_choice() -> None:
    members, policy, asked = replicas(4), Session(), Call(session="hot")
    picked = []
    for _ in range(8):
        picked.append(policy.pick(members, asked))
        picked[-1].in_flight += 1
    first, second = list(dict.fromkeys(load.id for load in picked))[:2]
    without = [load for load in replicas(4) if load.id != first]
    assert Session().pick(without, asked).id == second
    assert max(load.in_flight for load in members) <= 3


def test_without_a_session_the_least_loaded_serves() -> None:
    busy, idle = Load("a", 3), Load("b")
    assert Session().pick([busy, idle], call(1, 2, 3)) is idle
