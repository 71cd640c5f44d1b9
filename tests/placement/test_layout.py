"""Seats on a box that is only described: GPUs, cores and memory."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, NotEnoughMemoryError
from common.units import GIB
from placement.box import Box
from placement.layout import Seat, Want, check_memory, default_kv_bytes, seat, split_cores
from placement.nvml import Gpu


def box(
    n_gpus: int = 0, *, cores: int = 8, free_gib: float = 64, free: tuple[int, ...] = ()
) -> Box:
    free = free or (20,) * n_gpus
    gpus = (Gpu(i, f"GPU-{i}", "Fake 24G", 24 * GIB, each * GIB) for i, each in enumerate(free))
    return Box(tuple(gpus), tuple(range(cores)), 64 * GIB, int(free_gib * GIB))


def want(
    replica: str = "m-0",
    *,
    workers: int = 1,
    weights_gib: float = 1,
    kv_gib: float | None = None,
    gpus: tuple[int, ...] | None = None,
) -> Want:
    return Want(
        replica=replica,
        model=replica.rpartition("-")[0],
        workers=workers,
        weights_bytes=int(weights_gib * GIB),
        kv_cache_bytes=None if kv_gib is None else int(kv_gib * GIB),
        gpus=gpus,
    )


# Cores

workers = st.lists(st.integers(1, 4), min_size=1, max_size=6)
cores = st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True).map(sorted)


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


# On the CPU


def test_on_the_cpu_a_seat_is_cores_and_cache() -> None:
    seats = seat([want("m-0", kv_gib=2), want("n-0")], box(cores=5, free_gib=32))
    assert seats == [
        Seat(cpu_ids=((1, 2),), kv_cache_bytes=2 * GIB),
        Seat(cpu_ids=((3, 4),), kv_cache_bytes=4 * GIB),
    ]


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
    assert default_kv_bytes(replicas, box(free_gib=free_gib)) == kv_gib * GIB


@given(free_mib=st.integers(0, 10**7), replicas=st.integers(0, 64))
def test_the_cache_is_never_out_of_bounds(free_mib: int, replicas: int) -> None:
    kv = default_kv_bytes(replicas, box(free_gib=free_mib / 1024))
    assert GIB // 4 <= kv <= 4 * GIB


def test_too_little_memory_is_refused_with_the_sum() -> None:
    wants = [want("big-0", weights_gib=6, kv_gib=1), want("small-0", weights_gib=0.5, kv_gib=1)]
    with pytest.raises(NotEnoughMemoryError) as refused:
        seat(wants, box(free_gib=11))
    assert refused.value.message == (
        "not enough memory: 11.5 GiB needed, 11.0 GiB free: "
        "big-0 8.5 GiB (weights 6.0 GiB, KV cache 1.0 GiB); "
        "small-0 3.0 GiB (weights 512 MiB, KV cache 1.0 GiB). "
        "Fewer replicas, a smaller or quantized model, or a smaller "
        "engine_args.kv_cache_memory_bytes would fit."
    )
    assert len(seat(wants, box(free_gib=11.5))) == 2


def test_every_worker_is_a_process_that_needs_memory() -> None:
    wants = [want(workers=4, weights_gib=1)]
    kv = [GIB]
    check_memory(wants, kv, box(free_gib=8))
    with pytest.raises(NotEnoughMemoryError, match=r"8\.0 GiB needed, 7\.9 GiB free"):
        check_memory(wants, kv, box(free_gib=7.9))


def test_gpus_named_on_a_box_without_any_are_refused() -> None:
    wants = [want("m-0"), want("n-0", gpus=(0,))]
    with pytest.raises(ConfigError) as refused:
        seat(wants, box())
    assert refused.value.message == (
        "models.n.placement.gpus: names GPUs, but NVML finds none on this box"
    )


def test_nothing_wanted_is_nothing_given() -> None:
    assert seat([], box()) == []
    assert seat([], box(2)) == []


# On GPUs


def test_each_replica_gets_the_emptiest_gpu() -> None:
    seats = seat([want(f"m-{i}") for i in range(3)], box(free=(10, 22, 15)))
    assert [each.gpu_ids for each in seats] == [(1,), (2,), (0,)]
    assert {each.gpu_share for each in seats} == {0.92}
    assert {each.cpu_ids for each in seats} == {()}


def test_replicas_of_several_gpus_take_them_in_order() -> None:
    seats = seat([want("m-0", workers=2), want("m-1", workers=2)], box(free=(10, 22, 15, 23)))
    assert [each.gpu_ids for each in seats] == [(1, 3), (0, 2)]


def test_replicas_that_share_a_gpu_share_its_memory() -> None:
    seats = seat([want("a-0"), want("b-0"), want("c-0")], box(2))
    assert [each.gpu_ids for each in seats] == [(0,), (1,), (0,)]
    assert [each.gpu_share for each in seats] == [0.46, 0.92, 0.46]


def test_gpus_that_are_named_are_taken_as_they_are() -> None:
    seats = seat([want("m-0", workers=2, gpus=(3, 0)), want("m-1", gpus=(3,))], box(4))
    assert [each.gpu_ids for each in seats] == [(3, 0), (3,)]
    assert [each.gpu_share for each in seats] == [0.46, 0.46]


def test_the_cache_that_is_asked_for_is_passed_on() -> None:
    (given,) = seat([want(kv_gib=3)], box(1))
    assert given.kv_cache_bytes == 3 * GIB
    (free,) = seat([want()], box(1))
    assert free.kv_cache_bytes is None


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        seat([want(workers=2, gpus=(1, 7))], box(2))
    assert refused.value.message == (
        "models.m.placement.gpus: there is no GPU 7; this box has 0, 1"
    )


def test_more_workers_than_gpus_are_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        seat([want(workers=4)], box(2))
    assert refused.value.message == ("models.m.placement: tp x pp is 4, but this box has 2 GPU(s)")


@given(
    n_gpus=st.integers(1, 8),
    wanted=st.lists(st.integers(1, 8), min_size=1, max_size=10),
    free=st.data(),
)
def test_gpus_are_never_overcommitted(n_gpus: int, wanted: list[int], free: st.DataObject) -> None:
    wanted = [min(workers, n_gpus) for workers in wanted]
    gib = free.draw(st.lists(st.integers(1, 24), min_size=n_gpus, max_size=n_gpus))
    seats = seat([want(f"m-{i}", workers=w) for i, w in enumerate(wanted)], box(free=tuple(gib)))
    assert [len(each.gpu_ids) for each in seats] == wanted
    for gpu in range(n_gpus):
        shares = [each.gpu_share for each in seats if gpu in each.gpu_ids]
        assert sum(share for share in shares if share) <= 0.92 + 0.001 * len(shares)
    loads = [sum(gpu in each.gpu_ids for each in seats) for gpu in range(n_gpus)]
    assert max(loads) - min(loads) <= 1
