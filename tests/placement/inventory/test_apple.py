"""A Mac's GPU, from what its sysctl prints. No Mac was at hand."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.inventory import apple
from placement.inventory.apple import default_limit, gpu, parse

M3_MAX = """\
hw.memsize: 68719476736
hw.model: Mac15,9
machdep.cpu.brand_string: Apple M3 Max
iogpu.wired_limit_mb: 0
"""


def test_a_mac_lends_its_gpu_a_part_of_its_memory() -> None:
    found = gpu(parse(M3_MAX), available_bytes=60 * GIB)
    assert found is not None
    assert (found.kind, found.name) == ("apple", "Apple M3 Max")
    assert found.total_bytes == 64 * GIB
    assert found.cuda_total_bytes == 48 * GIB
    assert found.free_bytes == 48 * GIB
    assert found.used_bytes is None  # macOS does not tell what the GPU holds
    assert found.usable


def test_what_others_hold_is_not_free() -> None:
    found = gpu(parse(M3_MAX), available_bytes=10 * GIB)
    assert found is not None
    assert found.free_bytes == 10 * GIB


def test_a_limit_that_was_set_counts() -> None:
    text = M3_MAX.replace("limit_mb: 0", "limit_mb: 57344")
    found = gpu(parse(text), available_bytes=64 * GIB)
    assert found is not None
    assert found.cuda_total_bytes == 56 * GIB


def test_a_limit_beyond_the_memory_gives_no_more_than_there_is() -> None:
    found = gpu(parse(M3_MAX.replace("limit_mb: 0", "limit_mb: 999999")), 64 * GIB)
    assert found is not None
    assert (found.cuda_total_bytes, found.reserved_bytes) == (64 * GIB, 0)


def test_an_old_macos_does_not_know_the_limit() -> None:
    text = M3_MAX.replace("iogpu.wired_limit_mb: 0\n", "")
    found = gpu(parse(text), available_bytes=64 * GIB)
    assert found is not None
    assert found.cuda_total_bytes == 48 * GIB


def test_an_intel_mac_has_no_gpu_for_this() -> None:
    text = M3_MAX.replace("Apple M3 Max", "Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz")
    assert gpu(parse(text), available_bytes=GIB) is None
    assert gpu({}, available_bytes=GIB) is None


def test_without_a_size_it_is_reported_as_broken() -> None:
    found = gpu({"machdep.cpu.brand_string": "Apple M1"}, available_bytes=GIB)
    assert found is not None
    assert found.error == "`sysctl hw.memsize` does not tell its memory"
    assert not found.usable


@pytest.mark.parametrize(
    ("memory_gib", "limit_mib"),
    # What llama.cpp logged as recommendedMaxWorkingSetSize on such Macs.
    [(32, 21845), (64, 49152), (128, 98304)],
)
def test_the_default_limit_is_metals_own(memory_gib: int, limit_mib: int) -> None:
    assert default_limit(memory_gib * GIB) >> 20 == limit_mib


@given(memory=st.integers(GIB, 1024 * GIB))
def test_the_default_limit_leaves_the_system_a_quarter_or_more(memory: int) -> None:
    assert 0 < default_limit(memory) <= memory * 3 // 4


def test_elsewhere_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert apple.read(GIB) is None


def test_on_a_mac_sysctl_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(apple, "sysctl", lambda: parse(M3_MAX))
    found = apple.read(GIB)
    assert found is not None
    assert found.free_bytes == GIB


def test_a_sysctl_that_knows_none_of_it_says_nothing() -> None:
    # Linux has either no such program, or one that knows none of these names.
    assert apple.sysctl() == {} or sys.platform == "darwin"
