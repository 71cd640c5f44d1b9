from __future__ import annotations

from itertools import product
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.ensembles.tally import (
    Ballot,
    agreed,
    count,
    fewest_to_settle,
    is_settled,
    ranks_of,
    weights_of,
)

ballots = st.lists(
    st.builds(
        Ballot,
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from([0.5, 1.0, 1.75]),
        st.integers(0, 3),
    ),
    max_size=6,
)


def test_most_votes_win() -> None:
    tally = count([Ballot("a"), Ballot("b"), Ballot("b")])
    assert tally.groups == (("b", 2.0), ("a", 1.0))
    assert tally.winner == 1
    assert tally.share == pytest.approx(2 / 3)


def test_a_tie_goes_to_the_best_member() -> None:
    tally = count([Ballot("a", rank=1), Ballot("b", rank=0), Ballot("c", rank=2)])
    assert tally.winner == 1


def test_who_says_nothing_abstains_but_makes_it_less_sure() -> None:
    tally = count([Ballot(None), Ballot("a"), Ballot(None), Ballot("a")])
    assert tally.winner == 1
    assert tally.share == 0.5


def test_nobody_votes() -> None:
    assert count([]).winner is None
    assert count([Ballot(None)]).winner is None


def test_weight_beats_number() -> None:
    assert count([Ballot("a"), Ballot("a"), Ballot("b", 2.5)]).winner == 2


@given(ballots)
def test_the_winner_does_not_depend_on_the_order(cast: list[Ballot]) -> None:
    """But where two ballots of one rank tie, which decides by place."""
    one, other = count(cast), count(cast[::-1])
    assert dict(one.groups) == dict(other.groups)
    assert one.share == other.share
    if len({ballot.rank for ballot in cast}) == len(cast):
        assert one.groups[:1] == other.groups[:1]


@given(ballots, st.lists(st.sampled_from([0.5, 1.0, 1.75]), max_size=3))
def test_what_is_settled_stays_so_whatever_comes(cast: list[Ballot], out: list[float]) -> None:
    if not is_settled(cast, out) or not out:
        return
    leader = count(cast).groups[0][0]
    for answers in product(["a", "b", "c", "new", None], repeat=len(out)):
        more = [Ballot(a, w, rank=-1) for a, w in zip(answers, out, strict=True)]
        assert count([*cast, *more]).groups[0][0] == leader


@given(ballots, st.integers(1, 4))
def test_what_is_not_settled_could_still_turn_out_otherwise(cast: list[Ballot], n: int) -> None:
    """It does not wait for longer than it must: some answers of the best rank do change it."""
    out = [1.0] * n
    if is_settled(cast, out):
        return
    groups = count(cast).groups
    before = groups[0][0] if groups else None
    rival = groups[1][0] if len(groups) > 1 else "new"
    after = count([*cast, *(Ballot(rival, w, rank=-1) for w in out)])
    assert after.groups[0][0] == rival != before


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 12))
def test_fewest_to_settle(leader: int, second: int, left: int) -> None:
    cast = [Ballot("a")] * max(leader, second) + [Ballot("b")] * min(leader, second)
    n = fewest_to_settle(cast, left)
    assert 1 <= n <= left
    with_them = [*cast, *[Ballot("a")] * n]
    assert is_settled(with_them, [1.0] * (left - n))
    if n > 1:
        fewer = [*cast, *[Ballot("a")] * (n - 1)]
        assert not is_settled(fewer, [1.0] * (left - n + 1))


def test_weights_are_log_odds_against_one_wrong_answer() -> None:
    good, bad = weights_of([0.8, 0.4], wrong_answers=9)
    assert good == pytest.approx(log(4) + log(9))
    assert bad == pytest.approx(log(0.4 / 0.6) + log(9))


def test_a_member_without_a_record_counts_as_the_others_on_average() -> None:
    assert weights_of([None, None], 9) == (1.0, 1.0)
    known, unknown = weights_of([0.7, None], 9)
    assert known == unknown


@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6))
def test_every_vote_weighs_something_and_a_better_record_not_less(
    records: list[float | None],
) -> None:
    weights = weights_of(records, 3)
    assert all(weight > 0 for weight in weights)
    by_record = sorted((r, w) for r, w in zip(records, weights, strict=True) if r is not None)
    assert [w for _, w in by_record] == sorted(w for _, w in by_record)


def test_ranks() -> None:
    assert ranks_of([0.2, 0.9, None, 0.5]) == (2, 0, 3, 1)
    assert ranks_of([None, None]) == (0, 1)


def test_agreement_is_of_all_that_were_planned() -> None:
    assert agreed(["a", "a"], 2)
    assert not agreed(["a"], 2)
    assert not agreed(["a", None], 2)
    assert not agreed([None, None], 2)
    assert not agreed(["a", "b"], 2)
