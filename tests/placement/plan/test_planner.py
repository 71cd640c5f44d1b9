"""Plans for boxes that are only described: examples, and what must hold for every plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.units import GIB
from placement.footprint.settings import Settings
from placement.inventory.inventory import Inventory
from placement.plan.demand import Demand, Layout, misfit
from placement.plan.planner import Plan, make
from tests.placement.boxes import box, llama

RESERVE = GIB
CARD_NAMES = ("RTX 4090", "RTX 5090", "H100")


def planned(inventory: Inventory, *demands: Demand) -> Plan:
    return make(demands, inventory, reserve_bytes=RESERVE)


def gpus_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {placement.replica: placement.gpu_ids for placement in plan.placements}


# One model


def test_a_model_that_fits_one_card_gets_a_replica_on_each() -> None:
    plan = planned(box(4, "RTX 5090"), Demand("m", llama(8)))
    assert gpus_of(plan) == {"m-0": ("0",), "m-1": ("1",), "m-2": ("2",), "m-3": ("3",)}
    assert {p.layout for p in plan.placements} == {Layout(1, 1)}
    assert not plan.refusals


def test_a_model_too_large_for_a_card_is_spread_over_several() -> None:
    plan = planned(box(2, "RTX 4090"), Demand("m", llama(14, layers=40, heads=40)))
    (placed,) = plan.placements
    assert placed.gpu_ids == ("0", "1")
    assert placed.footprint.fits


def test_cards_without_nvlink_are_joined_by_a_pipeline_and_with_it_by_tensor_parallelism() -> None:
    large = Demand("m", llama(70, layers=80, heads=64), settings=Settings(max_model_len=8192))
    (over_pcie,) = planned(box(4, "H100"), large).placements
    (over_nvlink,) = planned(box(4, "H100", nvlink=True), large).placements
    assert over_pcie.layout.pp > 1
    assert over_nvlink.layout.tp > 1
    assert over_nvlink.nvlink


def test_a_context_that_does_not_fit_is_shortened_when_it_is_open() -> None:
    (placed,) = planned(box(1), Demand("m", llama(8, context=131072))).placements
    assert 8192 <= placed.footprint.max_model_len < 131072
    assert placed.footprint.fits
    assert placed.settings.max_model_len == placed.footprint.max_model_len


def test_a_context_that_is_asked_for_is_not_shortened() -> None:
    asked = Demand("m", llama(8), settings=Settings(max_model_len=131072))
    plan = planned(box(1), asked)
    assert not plan.placements
    (refusal,) = plan.refusals
    assert "needs" in refusal.reason
    assert any("max_model_len" in remedy.change for remedy in refusal.remedies)


def test_what_is_fixed_is_kept() -> None:
    fixed = Demand("m", llama(8), layout=Layout(2, 1), replicas=2, gpus=(3, 1, 2, 0))
    plan = planned(box(4, "H100"), fixed)
    assert gpus_of(plan) == {"m-0": ("3", "1"), "m-1": ("2", "0")}


# Several models


def test_two_models_on_two_cards_stand_alone() -> None:
    plan = planned(box(2), Demand("a", llama(7)), Demand("b", llama(3)))
    assert {len(ids) for ids in gpus_of(plan).values()} == {1}
    assert len(set(gpus_of(plan).values())) == 2


def test_more_models_than_cards_share_them_by_bytes() -> None:
    plan = planned(box(1, "H100"), Demand("a", llama(8)), Demand("b", llama(3)))
    assert gpus_of(plan) == {"a-0": ("0",), "b-0": ("0",)}
    assert all(p.settings.kv_cache_bytes for p in plan.placements), "both get their cache in bytes"
    shares = [p.settings.gpu_memory_utilization or 0 for p in plan.placements]
    assert sum(shares) < 1
    assert all(p.footprint.fits for p in plan.placements)


def test_a_cache_that_the_engine_is_told_in_bytes_is_all_that_is_set_aside_for_it() -> None:
    """As of llama.cpp, which reserves it for all its slots: no less, and nothing is spare."""
    told = Demand("told", llama(1), settings=Settings(max_model_len=4096, kv_cache_bytes=4 * GIB))
    other = Demand("other", llama(1), settings=Settings(max_model_len=4096))
    plan = planned(box(1, "RTX 5090"), told, other)
    first, second = plan.placements
    assert first.footprint.kv_cache_bytes == 4 * GIB
    assert 4 * GIB < first.bytes_per_gpu < second.bytes_per_gpu
    assert first.bytes_per_gpu + second.bytes_per_gpu == plan.berths[0].budget_bytes
    assert all(placed.footprint.fits for placed in plan.placements)


def test_caches_in_bytes_that_are_too_much_together_are_refused() -> None:
    each = Settings(max_model_len=4096, kv_cache_bytes=8 * GIB)
    plan = planned(box(1), *(Demand(name, llama(1), settings=each) for name in "ab"))
    assert len(plan.placements) == 1
    assert [refusal.model for refusal in plan.refusals] == ["b"]


def test_slots_of_whole_contexts_are_told_what_length_they_have_room_for() -> None:
    each = Settings(max_model_len=32768, kv_cache_bytes=24 * GIB)
    slots = Demand("slots", llama(1), settings=each, kv_by_context=True)
    (refusal,) = planned(box(1), slots).refusals
    found = next(r for r in refusal.remedies if r.change.startswith("max_model_len"))
    assert found.change == "max_model_len: 16384"
    (refusal,) = planned(box(1), replace(slots, kv_by_context=False)).refusals
    assert not any(r.change.startswith("max_model_len") for r in refusal.remedies)


def test_memory_that_others_hold_is_not_given_away() -> None:
    plan = planned(box(2, "RTX 4090", used_gib=(20, 0)), Demand("m", llama(7)))
    assert gpus_of(plan) == {"m-0": ("1",)}


def test_a_model_without_a_place_is_refused_with_a_way_out_that_works() -> None:
    plan = planned(box(1), Demand("m", llama(70, layers=80, heads=64)))
    (refusal,) = plan.refusals
    assert refusal.remedies
    card = refusal.remedies[-1].change
    assert card.split(" x ")[0].isdigit()


def test_models_that_fit_only_without_the_others_are_told_so() -> None:
    plan = planned(box(1), *(Demand(name, llama(7)) for name in "ab"))
    assert len(plan.placements) == 1
    (refusal,) = plan.refusals
    assert refusal.reason == "the GPUs are taken by the other models of this plan"


@pytest.mark.parametrize(
    ("demand", "said"),
    [
        (Demand("m", llama(8), layout=Layout(3, 1)), "TP 3 does not divide its 32 attention heads"),
        (Demand("m", llama(8), layout=Layout(8, 1)), "tp x pp is 8, but this box has 2"),
        (Demand("m", llama(8), layout=Layout(1, 1), gpus=(7,)), "there is no GPU 7"),
    ],
)
def test_what_can_never_be_is_wrong_use(demand: Demand, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        planned(box(2), demand)


# What holds for every plan

sizes = st.sampled_from([1, 3, 7, 14, 32, 70])
models = st.lists(sizes, min_size=1, max_size=4)


def demands_of(billions: list[int], max_model_len: int | None = None) -> list[Demand]:
    return [
        Demand(f"m{i}", llama(b), settings=Settings(max_model_len=max_model_len))
        for i, b in enumerate(billions)
    ]


@given(
    billions=models,
    n_gpus=st.integers(1, 8),
    card=st.sampled_from(CARD_NAMES),
    nvlink=st.booleans(),
    used=st.lists(st.integers(0, 20), max_size=8),
)
@example(  # of a pipeline's ranks, another has more weights than the one with the fewest blocks
    billions=[1, 14], n_gpus=7, card="RTX 4090", nvlink=False, used=[7, 8, 8, 15, 15, 16]
)
@settings(max_examples=60, deadline=None)
def test_no_gpu_is_given_away_twice(
    billions: list[int], n_gpus: int, card: str, nvlink: bool, used: list[int]
) -> None:
    inventory = box(n_gpus, card, nvlink=nvlink, used_gib=tuple(used))
    plan = make(demands_of(billions), inventory, reserve_bytes=RESERVE)
    for berth in plan.berths:
        assert plan.used_bytes(berth) <= berth.budget_bytes
    for placed in plan.placements:
        assert len(set(placed.gpu_ids)) == placed.layout.n_gpus
        assert misfit(placed.footprint.facts, placed.layout) is None
        assert placed.footprint.fits
    named = {p.model for p in plan.placements} | {r.model for r in plan.refusals}
    assert named == {f"m{i}" for i in range(len(billions))}
    assert plan == make(demands_of(billions), inventory, reserve_bytes=RESERVE)


@given(
    billions=sizes,
    n_gpus=st.sampled_from([1, 2, 4]),
    used=st.integers(0, 20),
    more=st.integers(0, 20),
)
@settings(max_examples=40, deadline=None)
def test_more_memory_never_fits_less(billions: int, n_gpus: int, used: int, more: int) -> None:
    less = max(0, used - more)
    (demand,) = demands_of([billions], 4096)
    tight = planned(box(n_gpus, used_gib=(used,) * n_gpus), demand)
    roomy = planned(box(n_gpus, used_gib=(less,) * n_gpus), demand)
    assert len(roomy.placements) >= len(tight.placements)
    if tight.placements and roomy.placements[0].layout == tight.placements[0].layout:
        before, after = tight.placements[0].footprint, roomy.placements[0].footprint
        assert after.kv_cache_bytes >= before.kv_cache_bytes


@given(billions=sizes, extra=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_more_cards_never_fit_less(billions: int, extra: int) -> None:
    (demand,) = demands_of([billions], 4096)
    some, more = planned(box(2), demand), planned(box(2 + extra), demand)
    assert len(more.placements) >= len(some.placements)


def test_unused_cards_are_not_a_fault() -> None:
    small = replace(Demand("m", llama(1)), replicas=1)
    plan = planned(box(4), small)
    assert gpus_of(plan) == {"m-0": ("0",)}


def test_a_shortage_is_told_of_a_layout_that_the_box_has_the_cards_for() -> None:
    one, two = box(1, "H100"), box(2)
    mixed = replace(one, gpus=(*one.gpus, *(replace(g, index=g.index + 1) for g in two.gpus)))
    plan = planned(mixed, Demand("m", llama(400, layers=126, heads=128)))
    (refusal,) = plan.refusals
    assert "one GPU" in refusal.reason or "RTX 4090" in refusal.reason
