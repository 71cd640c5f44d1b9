"""NVML's numbers in words."""

from __future__ import annotations

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import nvml_codes as codes
from placement.inventory.nvml_codes import cuda_version, link_path, only_node, throttle_reasons


def test_the_numbers_are_the_librarys() -> None:
    for name in (
        "NO_PERMISSION",
        "DRIVER_NOT_LOADED",
        "LIBRARY_NOT_FOUND",
        "GPU_IS_LOST",
        "RESET_REQUIRED",
        "LIB_RM_VERSION_MISMATCH",
    ):
        assert getattr(codes, name) == getattr(pynvml, f"NVML_ERROR_{name}")
    for name in ("INTERNAL", "SINGLE", "MULTIPLE", "HOSTBRIDGE", "NODE", "SYSTEM"):
        assert link_path(getattr(pynvml, f"NVML_TOPOLOGY_{name}")) == name.lower()


def test_every_reason_but_idleness_has_a_name() -> None:
    idle = pynvml.nvmlClocksEventReasonGpuIdle
    assert throttle_reasons(idle) == ()
    assert throttle_reasons(pynvml.nvmlClocksEventReasonHwThermalSlowdown) == (
        "hw_thermal_slowdown",
    )
    every = throttle_reasons(pynvml.nvmlClocksEventReasonAll)
    assert len(every) == (pynvml.nvmlClocksEventReasonAll & ~idle).bit_count()


def test_an_unknown_path_stays_unknown() -> None:
    assert link_path(None) is None
    assert link_path(99) is None


@given(node=st.integers(0, 255))
def test_a_lone_node_is_found(node: int) -> None:
    words = [(1 << node) >> 64 * place & (1 << 64) - 1 for place in range(4)]
    assert only_node(words) == node


@pytest.mark.parametrize("words", [[], [0, 0], [3], [1, 1]])
def test_none_or_several_nodes_are_unknown(words: list[int]) -> None:
    assert only_node(words) is None


def test_cuda_versions() -> None:
    assert [cuda_version(number) for number in (11020, 12080, 13000)] == ["11.2", "12.8", "13.0"]
