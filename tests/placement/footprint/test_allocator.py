"""The caching allocator's rounding, by its own rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from placement.footprint.allocator import allocated_bytes

MIB = 2**20
sizes = st.lists(st.integers(1, 64 * MIB), max_size=30)


def test_small_tensors_are_rounded_to_512_bytes() -> None:
    assert allocated_bytes([1]) == 512
    assert allocated_bytes([512, 513]) == 512 + 1024


def test_a_rest_of_up_to_1_mib_is_lost() -> None:
    assert allocated_bytes([11 * MIB]) == 12 * MIB
    assert allocated_bytes([10 * MIB + 512]) == 10 * MIB + 512  # the rest is over 1 MiB: split off


def test_what_is_split_off_serves_later_tensors() -> None:
    # 18.5 MiB of a segment of 20 MiB; the rest of 1.5 MiB then takes a tensor of 1.25 MiB whole.
    assert allocated_bytes([9 * MIB, int(9.5 * MIB), MIB + MIB // 4]) == 20 * MIB


def test_big_blocks_are_not_split_under_a_limit() -> None:
    size = 21 * MIB - MIB // 2
    assert allocated_bytes([size]) == size
    assert allocated_bytes([size], max_split=20 * MIB) == 22 * MIB


def test_nothing_takes_nothing() -> None:
    assert allocated_bytes([]) == allocated_bytes([0]) == 0


@given(sizes)
def test_never_less_than_asked_for_and_never_2_mib_more_a_tensor(given: list[int]) -> None:
    for limit in (None, 20 * MIB):
        total = allocated_bytes(given, max_split=limit)
        assert sum(given) <= total <= sum(given) + 2 * MIB * len(given)


@given(sizes, st.integers(1, 64 * MIB))
def test_one_tensor_more_takes_more(given: list[int], more: int) -> None:
    assert allocated_bytes([*given, more]) >= allocated_bytes(given) + more
