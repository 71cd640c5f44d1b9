"""Who makes room for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.manager.amounts import Bytes, over, total
from engines.manager.eviction import (
    Because,
    Plan,
    Refusal,
    Standing,
    Victim,
    in_the_way,
    plan,
)
from engines.manager.states import ModelState

NOW_S = 1000.0
BUDGET = {"gpu:0": 10, "ram": 8}
READY = ModelState.READY
_DEVICES = ("gpu:0", "gpu:1", "ram")
_HOLDING = (READY, ModelState.SLEEPING, ModelState.FAILED)


def model(name: str, size: int, idle_s: float = 0.0, cost_s: float = 30.0) -> Standing:
    return Standing(
        name, READY, {"gpu:0": size}, idle_since_s=NOW_S - idle_s, reload_cost_s=cost_s, until_s=2e3
    )


def planned(size: int, *models: Standing) -> Plan | Refusal:
    return plan("new", {"gpu:0": size}, models, BUDGET, NOW_S)


def names(made: Plan | Refusal) -> list[str]:
    assert isinstance(made, Plan), made
    return [victim.name for victim in made.victims]


def test_nobody_goes_while_there_is_room() -> None:
    assert names(planned(4, model("a", 6))) == []


def test_the_one_that_is_idle_longest_goes() -> None:
    assert names(planned(4, model("a", 5, idle_s=10), model("b", 5, idle_s=90))) == ["b"]


def test_what_takes_long_to_load_is_kept_against_what_was_used_a_little_later() -> None:
    slow, quick = model("a", 5, idle_s=100, cost_s=300), model("b", 5, idle_s=60, cost_s=10)
    assert names(planned(4, slow, quick)) == ["b"]


def test_no_more_go_than_must() -> None:
    models = [model("a", 2, idle_s=9000), model("b", 2, idle_s=8000), model("c", 6, idle_s=60)]
    assert names(planned(2, *models)) == ["a"]
    assert names(planned(4, *models)) == ["a", "b"]
    assert names(planned(6, *models)) == ["c"]


def test_kept_for_ever_goes_last_and_past_its_keep_alive_first() -> None:
    ever = replace(model("a", 5, idle_s=900), until_s=inf)
    over_ = replace(model("b", 5, cost_s=999), until_s=NOW_S)
    assert names(planned(4, ever, model("c", 5))) == ["c"]
    assert names(planned(4, over_, model("c", 5, idle_s=900))) == ["b"]
    assert names(planned(4, ever, replace(model("c", 5), in_flight=1))) == ["a"]


def test_what_is_in_demand_stays_until_somebody_has_waited_enough() -> None:
    wanted = replace(model("a", 8), in_demand=True)
    refused = planned(4, wanted)
    assert isinstance(refused, Refusal)
    assert refused.because is Because.BUSY
    made = plan("new", {"gpu:0": 4}, [wanted], BUDGET, NOW_S, is_due=True)
    assert names(made) == ["a"]


@pytest.mark.parametrize(
    ("size", "change", "because", "reason"),
    [
        (11, {}, Because.TOO_LARGE, "new needs 0 MiB on gpu:0; there is 0 MiB on gpu:0 in all"),
        (4, {"pinned": True}, Because.PINNED, "new needs 0 MiB on gpu:0; a is pinned there"),
        (4, {"in_flight": 1}, Because.BUSY, "new needs 0 MiB on gpu:0; a is in use there"),
        (4, {"fixed": True}, Because.BUSY, "new needs 0 MiB on gpu:0; a is in use there"),
        (4, {"state": ModelState.LOADING}, Because.BUSY, "a is in use there"),
        (4, {"state": ModelState.DRAINING}, Because.BUSY, "a is in use there"),
    ],
)
def test_a_refusal_says_why(
    size: int, change: dict[str, object], because: Because, reason: str
) -> None:
    refused = planned(size, replace(model("a", 8), **change))
    assert isinstance(refused, Refusal)
    assert refused.because is because
    assert reason in refused.reason


def test_a_device_that_the_budget_does_not_have_has_no_room() -> None:
    refused = plan("new", {"gpu:7": 1}, [], BUDGET, NOW_S)
    assert isinstance(refused, Refusal)
    assert refused.because is Because.TOO_LARGE


def test_only_the_device_that_is_short_is_cleared() -> None:
    elsewhere = replace(model("a", 0, idle_s=900), holds={"ram": 8})
    assert names(planned(4, elsewhere, model("b", 8))) == ["b"]


LEVELS = {1: {"ram": 6, "gpu:0": 1}, 2: {"gpu:0": 1}}


@pytest.mark.parametrize(
    ("size", "ram_taken", "level"), [(9, 0, 1), (9, 2, 1), (9, 3, 2), (10, 0, 0)]
)
def test_it_sleeps_as_lightly_as_ram_and_the_new_one_allow(
    size: int, ram_taken: int, level: int
) -> None:
    sleeper = replace(model("a", 8), asleep_bytes=LEVELS)
    beside = replace(model("b", 0), holds={"ram": ram_taken}, in_flight=1)
    made = planned(size, sleeper, beside)
    assert made == Plan((Victim("a", level, LEVELS.get(level, {})),))


def test_ram_for_one_goes_to_the_one_that_takes_longest_to_load() -> None:
    quick = replace(model("a", 5, cost_s=10), asleep_bytes={1: {"ram": 5}})
    slow = replace(model("b", 5, cost_s=60), asleep_bytes={1: {"ram": 5}})
    made = planned(10, quick, slow)
    assert isinstance(made, Plan)
    assert {v.name: v.level for v in made.victims} == {"a": 0, "b": 1}


def test_a_sleeper_that_is_in_the_way_is_unloaded() -> None:
    asleep = replace(model("a", 1), state=ModelState.SLEEPING, asleep_bytes=LEVELS)
    assert planned(10, asleep) == Plan((Victim("a"),))


def test_in_the_way_are_busy_ones_but_never_pinned_ones() -> None:
    busy = replace(model("a", 5), in_flight=2)
    pinned = replace(model("b", 5), pinned=True)
    assert in_the_way("new", {"gpu:0": 5}, [busy, pinned], BUDGET, NOW_S) == {"a"}
    assert in_the_way("new", {"gpu:0": 6}, [busy, pinned], BUDGET, NOW_S) == frozenset()


# Small numbers, so that exact fits and ties are common.
_amounts = st.dictionaries(st.sampled_from(_DEVICES), st.integers(0, 6), max_size=3)


@st.composite
def boxes(draw: st.DrawFn, most: int = 7) -> tuple[Bytes, list[Standing], Bytes]:
    """What is needed, who is there, and a budget that those who are there do not exceed."""
    models = [
        Standing(
            name=f"m{n}",
            state=draw(st.sampled_from(ModelState)),
            holds=draw(_amounts),
            asleep_bytes=draw(st.dictionaries(st.sampled_from([1, 2]), _amounts, max_size=2)),
            idle_since_s=draw(st.sampled_from([0.0, 500.0, 999.0])),
            reload_cost_s=draw(st.sampled_from([1.0, 30.0])),
            in_flight=draw(st.sampled_from([0, 0, 1])),
            until_s=draw(st.sampled_from([500.0, 2000.0, inf])),
            pinned=draw(st.sampled_from([False, False, True])),
            fixed=draw(st.sampled_from([False, False, True])),
            in_demand=draw(st.sampled_from([False, False, True])),
        )
        for n in range(draw(st.integers(0, most)))
    ]
    spare = draw(_amounts)
    return draw(_amounts), models, total([spare, *(m.holds for m in models)])


def _may_go(model: Standing, is_due: bool) -> bool:
    kept = model.pinned or model.in_flight or model.fixed or (model.in_demand and not is_due)
    return model.state in _HOLDING and not kept


def _fits(needs: Bytes, staying: Sequence[Bytes], budget: Bytes) -> bool:
    return not [d for d in over(total([needs, *staying]), budget) if needs.get(d)]


@given(boxes(), st.booleans())
def test_a_plan_never_exceeds_the_budget_nor_touches_who_may_not_go(
    box: tuple[Bytes, list[Standing], Bytes], is_due: bool
) -> None:
    needs, models, budget = box
    made = plan("new", needs, models, budget, NOW_S, is_due=is_due)
    if isinstance(made, Refusal):
        return
    gone = {v.name: v.leaves for v in made.victims}
    after = total([needs, *(gone.get(m.name, m.holds) for m in models)])
    assert over(after, budget) == ()
    assert all(_may_go(m, is_due) for m in models if m.name in gone)


@given(boxes(), st.booleans())
def test_a_plan_is_made_whenever_there_is_one_and_nobody_in_it_could_stay(
    box: tuple[Bytes, list[Standing], Bytes], is_due: bool
) -> None:
    needs, models, budget = box
    made = plan("new", needs, models, budget, NOW_S, is_due=is_due)
    idle = [m for m in models if _may_go(m, is_due)]
    possible = any(
        _fits(needs, [m.holds for m in models if m not in chosen], budget)
        for n in range(len(idle) + 1)
        for chosen in combinations(idle, n)
    )
    assert isinstance(made, Plan) == possible
    if isinstance(made, Plan):
        gone = {v.name for v in made.victims}
        for spared in gone:
            staying = [m.holds for m in models if m.name not in gone - {spared}]
            assert not _fits(needs, staying, budget), f"{spared} could have stayed"


@given(boxes(), st.randoms())
def test_the_same_models_in_another_order_give_the_same_plan(
    box: tuple[Bytes, list[Standing], Bytes], random: Random
) -> None:
    needs, models, budget = box
    shuffled = list(models)
    random.shuffle(shuffled)
    assert plan("new", needs, models, budget, NOW_S) == plan("new", needs, shuffled, budget, NOW_S)


@given(boxes(most=16))
def test_with_many_models_a_plan_is_still_within_the_budget_and_without_surplus(
    box: tuple[Bytes, list[Standing], Bytes],
) -> None:
    needs, models, budget = box
    made = plan("new", needs, models, budget, NOW_S)
    everybody = [m.holds for m in models if not _may_go(m, False)]
    assert isinstance(made, Plan) == _fits(needs, everybody, budget)
    if isinstance(made, Plan):
        gone = {v.name for v in made.victims}
        assert _fits(needs, [m.holds for m in models if m.name not in gone], budget)
        for spared in gone:
            staying = [m.holds for m in models if m.name not in gone - {spared}]
            assert not _fits(needs, staying, budget)


@given(boxes())
def test_why_it_was_refused_is_true(box: tuple[Bytes, list[Standing], Bytes]) -> None:
    needs, models, budget = box
    made = plan("new", needs, models, budget, NOW_S)
    if not isinstance(made, Refusal):
        return
    pinned = [m.holds for m in models if m.pinned]
    assert (made.because is Because.TOO_LARGE) == (not _fits(needs, [], budget))
    if made.because is not Because.TOO_LARGE:
        assert (made.because is Because.PINNED) == (not _fits(needs, pinned, budget))
