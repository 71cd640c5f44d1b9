"""Bars: every byte of a card is in exactly one segment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint.overheads import context_bytes
from placement.footprint.settings import RankFootprint, Term
from placement.plan.demand import Layout
from placement.plan.plan import Plan
from placement.report.bars import bars, fits, twin
from placement.report.table import strip
from tests.placement import plans

PLANS = ["one_gpu", "four_replicas", "tensor_parallel", "shared", "refused", "on_cpu"]


@pytest.mark.parametrize("name", PLANS)
def test_segments_add_up_to_the_cards_total(name: str) -> None:
    plan: Plan = getattr(plans, name)()
    for bar in bars(plan):
        assert sum(segment.n_bytes for segment in bar.segments) == bar.total_bytes
        assert bar.over_bytes == 0


def test_the_total_is_the_cards_and_not_what_cuda_sees() -> None:
    (bar,) = bars(plans.one_gpu())
    assert bar.total_bytes == 24564 * plans.MIB
    assert bar.part_bytes("driver") == 450 * plans.MIB
    assert bar.part_bytes("others") == 300 * plans.MIB
    assert bar.part_bytes("reserve") == plans.RESERVE_BYTES


def test_an_engine_has_its_terms_its_cache_and_its_context() -> None:
    plan = plans.one_gpu()
    (bar,), (placement,) = bars(plan), plan.placements
    footprint = placement.footprint
    for term in footprint.terms:
        assert bar.part_bytes(term.name) == term.n_bytes
    assert bar.part_bytes("kv_cache") == footprint.kv_cache_bytes
    assert bar.part_bytes("context") == context_bytes(placement.settings, footprint.device) > 0


def test_each_gpu_of_a_pipeline_has_its_own_stage() -> None:
    places, layout = [plans.berth(index) for index in range(4)], Layout(2, 2)
    size = plans.footprint(places[0], 2.0, weights_gib=6.0, layout=layout)
    stages = tuple(
        RankFootprint((Term("weights", n_gib * GIB, "headers"),), (9 - n_gib) * GIB)
        for n_gib in (6, 7)
    )
    seat = plans.placement("m", 0, places, replace(size, ranks=stages), layout=layout)
    found = bars(plans.plan(places, [seat]))
    assert [bar.part_bytes("weights") // GIB for bar in found] == [6, 6, 7, 7]
    assert [bar.part_bytes("kv_cache") // GIB for bar in found] == [3, 3, 2, 2]


def test_a_margin_is_no_more_than_is_left_for_it() -> None:
    plan = plans.one_gpu()
    (seat,) = plan.placements
    (bar,) = bars(plan)
    taken = bar.replica_bytes(seat.replica) - bar.part_bytes("margin")
    tight = replace(seat, bytes_per_gpu=taken + plans.MIB)
    (narrow,) = bars(replace(plan, placements=(tight,)))
    assert narrow.part_bytes("margin") == plans.MIB
    over = replace(seat, bytes_per_gpu=taken - plans.MIB)
    (none,) = bars(replace(plan, placements=(over,)))
    assert none.part_bytes("margin") == 0


def test_two_models_on_one_gpu_are_told_apart() -> None:
    plan = plans.shared()
    bar = bars(plan)[0]
    assert bar.replicas == ("qwen3-4b-0", "granite-2b-with-a-name-that-is-long-0")
    small, tiny = plan.placements[0].footprint, plan.placements[1].footprint
    assert bar.part_bytes("weights") == small.term("weights") + tiny.term("weights")
    assert bar.part_bytes("weights", "qwen3-4b-0") == small.term("weights")
    assert sum(map(bar.replica_bytes, bar.replicas)) <= bar.berth.budget_bytes


def test_a_replica_is_on_each_of_its_gpus() -> None:
    plan = plans.tensor_parallel()
    sizes = {bar.replica_bytes("deepseek-v3.1-fp8-0") for bar in bars(plan)}
    assert len(bars(plan)) == 8
    assert len(sizes) == 1
    assert sizes.pop() > 60 * GIB


def test_main_memory_holds_the_processes_of_all_workers() -> None:
    plan = plans.on_cpu()
    (bar,), (placement,) = bars(plan), plan.placements
    assert bar.replica_bytes("smollm2-0") == placement.bytes_per_gpu
    assert bar.part_bytes("activation") == 0


def test_shares_that_are_too_large_are_told() -> None:
    plan = plans.shared()
    seats = tuple(
        replace(seat, footprint=replace(seat.footprint, kv_cache_bytes=20 * GIB))
        for seat in plan.placements
    )
    bar = bars(replace(plan, placements=seats))[0]
    taken = sum(segment.n_bytes for segment in bar.segments)
    assert bar.over_bytes == taken - bar.total_bytes > 0
    assert bar.part_bytes("free") == 0
    assert not fits(replace(plan, placements=seats))


def test_a_cache_below_zero_draws_nothing() -> None:
    plan = plans.one_gpu()
    (seat,) = plan.placements
    short = replace(seat.footprint, kv_cache_bytes=-3 * GIB, fits=False)
    broken = replace(plan, placements=(replace(seat, footprint=short),))
    (bar,) = bars(broken)
    assert all(segment.n_bytes > 0 for segment in bar.segments)
    assert bar.part_bytes("kv_cache") == 0
    assert not fits(broken)


def test_whether_all_is_well() -> None:
    assert fits(plans.one_gpu())
    assert not fits(plans.refused())


def test_replicas_that_are_alike_know_their_first() -> None:
    plan = plans.four_replicas()
    assert [twin(seat, plan) for seat in plan.placements] == [None, *plan.placements[:1] * 3]
    others = plans.shared()
    assert all(twin(seat, others) is None for seat in others.placements)


@given(
    used_mib=st.integers(0, 20_000),
    weights_gib=st.floats(0, 40),
    kv_gib=st.floats(-5, 40),
    reserve_mib=st.integers(0, 4096),
)
def test_no_byte_is_lost_or_counted_twice(
    used_mib: int, weights_gib: float, kv_gib: float, reserve_mib: int
) -> None:
    place = plans.berth(0, used_mib=used_mib)
    free = place.device.free_bytes or 0
    place = replace(place, budget_bytes=max(0, free - reserve_mib * plans.MIB))
    size = plans.footprint(place, kv_gib, weights_gib=weights_gib)
    (bar,) = bars(plans.plan([place], [plans.placement("m", 0, [place], size)]))
    assert all(segment.n_bytes > 0 for segment in bar.segments)
    taken = sum(segment.n_bytes for segment in bar.segments)
    assert taken == bar.total_bytes + bar.over_bytes
    assert not (bar.over_bytes and bar.part_bytes("free"))
    assert len(strip(bar)) == 64
