"""Who stays and who takes turns, on boxes that are only described."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint.settings import Settings
from placement.inventory.inventory import Inventory
from placement.plan.demand import Demand
from placement.plan.planner import Plan, make
from placement.plan.timetable import Timetable, timetable
from tests.placement.boxes import box, llama


def on(inventory: Inventory, demands: Sequence[Demand], beside: Mapping[str, int]) -> Plan:
    return make(demands, inventory, reserve_bytes=GIB, beside=beside)


def of_size(name: str, gib: float) -> Demand:
    """On a CPU: about so much in all, by its KV cache."""
    return Demand(name, llama(1, context=2048), settings=Settings(kv_cache_bytes=int(gib * GIB)))


def timed(
    demands: Sequence[Demand], inventory: Inventory, *, pinned: Sequence[str] = (), last: str = ""
) -> Timetable:
    return timetable(demands, partial(on, inventory), pinned=pinned, last=[last])


def turns(table: Timetable) -> dict[str, tuple[str, ...]]:
    return {guest.model: guest.instead_of for guest in table.guests}


def stay(table: Timetable) -> list[str]:
    return [placed.model for placed in table.together.placements]


CPU = box(cores=4, free_gib=48)  # two of 16 GiB and their weights, not three


def test_all_that_fit_are_planned_together_as_ever() -> None:
    demands = [of_size("a", 16), of_size("b", 16)]
    table = timed(demands, CPU)
    assert table.as_plan == on(CPU, demands, {})
    assert not table.guests
    assert not table.refusals


def test_the_first_of_the_config_stay_and_each_of_the_rest_is_put_against_another() -> None:
    table = timed([of_size(name, 16) for name in "abcd"], CPU)
    assert stay(table) == ["a", "b"]
    assert turns(table) == {"c": ("b",), "d": ("a",)}
    assert not table.refusals
    assert [placed.model for placed in table.placements] == ["a", "b", "c", "d"]


def test_models_on_demand_give_way_first_and_pinned_ones_never() -> None:
    demands = [of_size(name, 16) for name in "abc"]
    assert stay(timed(demands, CPU, last="a")) == ["b", "c"]
    table = timed(demands, CPU, pinned=["b", "c"])
    assert stay(table) == ["b", "c"]
    assert not table.guests
    assert [refusal.model for refusal in table.refusals] == ["a"]


def test_one_that_needs_the_room_of_all_takes_it() -> None:
    table = timed([of_size("a", 10), of_size("b", 10), of_size("large", 38)], CPU)
    assert turns(table) == {"large": ("b", "a")}


def test_what_fits_nowhere_is_refused_with_a_way_out() -> None:
    table = timed([of_size("a", 10), of_size("huge", 99)], CPU)
    assert stay(table) == ["a"]
    (refusal,) = table.as_plan.refusals
    assert refusal.model == "huge"
    assert refusal.remedies


def test_pinned_models_that_do_not_fit_together_are_refused() -> None:
    table = timed([of_size("a", 30), of_size("b", 30)], CPU, pinned=["a", "b"])
    assert [refusal.model for refusal in table.refusals] == ["b"]
    assert not table.guests


def test_on_a_card_a_guest_gets_its_kv_cache_in_bytes_beside_those_that_stay() -> None:
    """What it would measure for itself includes what the other does meanwhile."""
    sized = Settings(max_model_len=8192)
    names = ("a", "b", "c")
    demands = [Demand(name, llama(14, layers=40, heads=40), settings=sized) for name in names]
    table = timed(demands, box(1, "H100"))
    assert stay(table) == ["a", "b"]
    (guest,) = table.guests
    (placed,) = guest.placements
    assert guest.instead_of == ("b",)
    assert placed.gpu_ids == ("0",)
    assert placed.footprint.fits
    assert placed.settings.kv_cache_bytes


def on_card(name: str, billions: float, **known: Any) -> Demand:
    return Demand(name, llama(billions), settings=Settings(**{"max_model_len": 4096, **known}))


SMALL = on_card("small", 1)


def test_a_pinned_model_on_a_card_leaves_the_rest_to_those_that_take_turns() -> None:
    table = timed([SMALL, *(on_card(n, 18) for n in "ab")], box(1, "H100"), pinned=["small"])
    assert stay(table) == ["small", "a"]
    assert turns(table) == {"b": ("a",)}
    small, a = table.together.placements
    assert 4.0 <= small.footprint.max_concurrency < 4.5
    assert a.footprint.max_concurrency > 4.5
    assert all(placed.footprint.fits for placed in table.placements)


def test_with_a_card_to_itself_a_pinned_model_has_all_of_it() -> None:
    """As if nobody took turns on the other card."""
    rest = [replace(on_card(n, 8), gpus=(1,)) for n in "ab"]
    pinned = replace(SMALL, gpus=(0,))
    table = timed([pinned, *rest], box(2, "RTX 4090"), pinned=["small"])
    assert turns(table) == {"b": ("a",)}
    alone = on(box(1, "RTX 4090"), [pinned], {}).placements[0]
    assert table.together.placements[0].bytes_per_gpu == alone.bytes_per_gpu
    assert table.together.placements[0].settings == alone.settings


def test_a_pinned_model_takes_as_many_requests_as_it_is_told() -> None:
    one = on_card("small", 1, max_num_seqs=1)
    table = timed([one, *(on_card(n, 18) for n in "ab")], box(1, "H100"), pinned=["small"])
    assert 1.0 <= table.together.placements[0].footprint.max_concurrency < 1.2


@pytest.mark.parametrize(("names", "cores", "each"), [("a", 8, None), ("ab", 9, 4), ("ab", 1, 1)])
def test_replicas_that_run_at_once_share_the_cores(
    names: str, cores: int, each: int | None
) -> None:
    """On cards, too, where a plan gives no list of them."""
    found = timed([on_card(n, 2) for n in names], box(1, "H100", cores=cores))
    assert len(found.together.placements) == len(names)
    assert found.cores_each == each


@given(
    sizes=st.lists(st.floats(1, 60), min_size=1, max_size=6),
    pins=st.sets(st.integers(0, 5), max_size=2),
)
@settings(max_examples=60, deadline=None)
def test_every_model_fits_beside_those_that_stay_meanwhile(
    sizes: list[float], pins: set[int]
) -> None:
    demands = [of_size(f"m{i}", size) for i, size in enumerate(sizes)]
    pinned = [f"m{i}" for i in pins if i < len(sizes)]
    table = timed(demands, CPU, pinned=pinned)
    budget = CPU.cpu.available_memory_bytes
    taken: Counter[str] = Counter()
    for placed in table.together.placements:
        taken[placed.model] += placed.bytes_per_gpu
    assert taken.total() <= budget
    for guest in table.guests:
        assert not set(guest.instead_of) & set(pinned)
        own = sum(placed.bytes_per_gpu for placed in guest.placements)
        assert own + sum(n for name, n in taken.items() if name not in guest.instead_of) <= budget
    named = [*taken, *turns(table), *(refusal.model for refusal in table.refusals)]
    if not set(pinned) & {refusal.model for refusal in table.refusals}:
        assert sorted(named) == sorted(demand.model for demand in demands)


@pytest.mark.parametrize("free_gib", [8, 48])
def test_no_model_is_no_trouble(free_gib: int) -> None:
    assert not timed([], box(cores=4, free_gib=free_gib)).placements
