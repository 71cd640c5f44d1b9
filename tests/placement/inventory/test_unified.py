"""GPUs that share the system's memory are known by name, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.units import GIB
from placement.inventory.inventory import Gpu
from placement.inventory.unified import Memory, is_unified, memory, settled

# The two figures of a DGX Spark, as its owner published them.
MEMINFO = "MemTotal:       127600748 kB\nMemFree:  1 kB\nMemAvailable:   118566368 kB\n"


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(MEMINFO)
    return file


@pytest.mark.parametrize(
    ("name", "unified"),
    [
        ("NVIDIA GB10", True),
        ("Orin (nvgpu)", True),
        ("NVIDIA Thor", True),
        ("Xavier", True),
        ("NVIDIA GeForce RTX 4090", False),
        ("NVIDIA GB100", False),
        ("NVIDIA GB200", False),
        ("NVIDIA GH200 480GB", False),
        ("Author's card", False),
        ("", False),
        (None, False),
    ],
)
def test_they_are_known_by_name(name: str | None, unified: bool) -> None:
    assert is_unified(name) is unified


def test_memory_is_what_the_system_could_still_give(meminfo: Path) -> None:
    assert memory(meminfo) == Memory(127600748 * 1024, 118566368 * 1024)


@pytest.mark.parametrize("text", ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n"])
def test_a_file_that_does_not_tell_is_no_memory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "meminfo"
    file.write_text(text)
    assert memory(file) is None
    assert memory(tmp_path / "nowhere") is None


def test_a_unified_gpu_gets_the_systems_memory(meminfo: Path) -> None:
    gpu = settled(Gpu(0, name="NVIDIA GB10", compute_capability=(12, 1)), meminfo)
    assert gpu.kind == "unified"
    assert gpu.cuda_total_bytes == 127600748 * 1024
    assert gpu.free_bytes == 118566368 * 1024
    assert gpu.used_bytes == gpu.cuda_total_bytes - gpu.free_bytes
    assert gpu.compute_capability == (12, 1)
    assert gpu.usable


def test_figures_of_the_driver_do_not_count_on_a_unified_gpu(meminfo: Path) -> None:
    told = Gpu(0, name="NVIDIA GB10", total_bytes=GIB, used_bytes=0, free_bytes=GIB)
    assert settled(told, meminfo).free_bytes == 118566368 * 1024


def test_without_meminfo_it_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    gpu = settled(Gpu(0, name="NVIDIA GB10"), tmp_path / "nowhere")
    assert not gpu.usable
    assert gpu.error == f"shares memory that {tmp_path / 'nowhere'} does not tell of"


def test_another_gpu_that_hides_its_memory_is_broken_and_not_unified(meminfo: Path) -> None:
    hidden = Gpu(3, name="NVIDIA GeForce RTX 4090")
    gpu = settled(hidden, meminfo)
    assert gpu == replace(hidden, error="NVML gives no memory figures for it: check `nvidia-smi`")


def test_what_is_in_order_or_broken_already_stays_as_it_is(meminfo: Path) -> None:
    for gpu in (
        Gpu(0, name="NVIDIA L4", total_bytes=GIB, free_bytes=GIB),
        Gpu(1, error="has fallen off the bus"),
        Gpu(2, name="NVIDIA GB10", error="has fallen off the bus"),
    ):
        assert settled(gpu, meminfo) is gpu
