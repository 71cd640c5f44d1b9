"""Plans for a box without GPUs: cores and main memory."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from common.units import GIB
from placement.footprint.settings import Settings
from placement.plan.demand import Demand, Layout
from placement.plan.on_cpu import default_kv_bytes, split_cores
from placement.plan.planner import Plan, make
from tests.placement.boxes import box, llama

workers = st.lists(st.integers(1, 4), min_size=1, max_size=6)
cores = st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True).map(sorted)


def planned(*demands: Demand, free_gib: float = 32, n_cores: int = 5) -> Plan:
    return make(demands, box(cores=n_cores, free_gib=free_gib), reserve_bytes=GIB)


def small(name: str, *, kv_gib: float | None = None, replicas: int | None = None) -> Demand:
    kv_bytes = None if kv_gib is None else int(kv_gib * GIB)
    return Demand(
        name, llama(1, context=8192), settings=Settings(kv_cache_bytes=kv_bytes), replicas=replicas
    )


# Cores


@given(workers=workers, cores=cores)
def test_every_worker_gets_cores_of_the_box(workers: list[int], cores: list[int]) -> None:
    seats = split_cores(workers, cores)
    assert len(seats) == len(workers)
    if sum(workers) == 1:
        assert seats == [()]  # vLLM binds a lone worker better
        return
    assert [len(lists) for lists in seats] == workers
    given = list(chain.from_iterable(seats))
    assert all(each and set(each) <= set(cores) for each in given)
    assert all(len(set(each)) == len(each) for each in given)
    assert len({len(each) for each in given}) == 1


@given(workers=workers, cores=cores)
def test_workers_share_no_core_when_there_are_enough(workers: list[int], cores: list[int]) -> None:
    if sum(workers) == 1 or len(cores) < sum(workers):
        return
    used = list(chain.from_iterable(chain.from_iterable(split_cores(workers, cores))))
    assert len(set(used)) == len(used)
    if len(cores) > sum(workers):
        assert cores[0] not in used  # the router, Ray and the system have it


@given(workers=workers, cores=cores)
def test_too_few_cores_are_shared_evenly(workers: list[int], cores: list[int]) -> None:
    if sum(workers) == 1 or len(cores) >= sum(workers):
        return
    used = list(chain.from_iterable(chain.from_iterable(split_cores(workers, cores))))
    shares = [used.count(core) for core in cores]
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("workers", "cores", "seats"),
    [
        ([1], 8, [()]),
        ([1, 1], 2, [((0,),), ((1,),)]),
        ([1, 1], 4, [((1,),), ((2,),)]),
        ([1, 1], 5, [((1, 2),), ((3, 4),)]),
        ([2], 5, [((1, 2), (3, 4))]),
        ([2, 1], 1, [((0,), (0,)), ((0,),)]),
        ([], 4, []),
    ],
)
def test_cores_by_example(
    workers: list[int], cores: int, seats: list[tuple[tuple[int, ...], ...]]
) -> None:
    assert split_cores(workers, range(cores)) == seats


# Memory


@pytest.mark.parametrize(
    ("free_gib", "replicas", "kv_gib"),
    [
        (8, 1, 2),
        (8, 2, 1),
        (16, 1, 4),
        (512, 1, 4),
        (512, 64, 2),
        (0.1, 1, 0.25),
        (8, 64, 0.25),
        (8, 0, 2),
    ],
)
def test_the_cache_is_a_quarter_of_what_is_free_within_bounds(
    free_gib: float, replicas: int, kv_gib: float
) -> None:
    assert default_kv_bytes(replicas, int(free_gib * GIB)) == kv_gib * GIB


def test_one_replica_each_unless_more_are_asked_for() -> None:
    plan = planned(small("a", kv_gib=2), small("b", replicas=2))
    assert [p.replica for p in plan.placements] == ["a-0", "b-0", "b-1"]
    assert [p.footprint.kv_cache_bytes for p in plan.placements] == [2 * GIB, *[8 * GIB // 3] * 2]
    assert {p.gpu_ids for p in plan.placements} == {()}
    assert all(len(p.cpu_ids) == 1 for p in plan.placements)


def test_every_worker_holds_weights_cache_and_its_processes() -> None:
    (placed,) = planned(
        Demand("m", llama(1), settings=Settings(kv_cache_bytes=GIB), layout=Layout(2, 1))
    ).placements
    worker = placed.footprint.term("weights") + placed.footprint.term("non_torch") + GIB
    assert placed.bytes_per_gpu == 2 * worker
    assert placed.footprint.term("non_torch") > GIB


def test_what_does_not_fit_any_more_is_refused_with_the_sum() -> None:
    plan = planned(small("a", kv_gib=1, replicas=3), free_gib=12)
    (refusal,) = plan.refusals
    placed = plan.placements[0].bytes_per_gpu
    assert len(plan.placements) == 12 * GIB // placed
    assert refusal.replicas == 3 - len(plan.placements)
    assert refusal.reason.startswith("not enough memory: ")
    assert any("kv_cache_memory_bytes" in remedy.change for remedy in refusal.remedies)


def test_gpus_named_on_a_box_without_any() -> None:
    with pytest.raises(ConfigError, match=r"m\.placement\.gpus: names GPUs, but this box has no"):
        planned(Demand("m", llama(1), layout=Layout(1, 1), gpus=(0,)))


def test_nothing_wanted_is_nothing_given() -> None:
    assert planned().placements == ()
