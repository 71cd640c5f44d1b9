"""What is found on this very box, whatever it has."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from placement import box


def test_the_box_is_this_one() -> None:
    found = box.look()
    assert found.total_memory_bytes == psutil.virtual_memory().total
    assert 0 < found.available_memory_bytes <= found.total_memory_bytes
    assert [gpu.index for gpu in found.gpus] == list(range(len(found.gpus)))
    assert all(0 <= gpu.free_bytes <= gpu.usable_bytes for gpu in found.gpus)


def test_cores_are_ones_that_this_process_may_use() -> None:
    cores = box.look().cores
    assert cores
    assert list(cores) == sorted(set(cores))
    assert set(cores) <= os.sched_getaffinity(0)


def test_of_each_physical_core_one_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2,6"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(siblings))
    monkeypatch.setattr(box, "_siblings", siblings.__getitem__)
    assert box._cores() == (0, 1, 2)


def test_without_a_topology_every_cpu_is_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1})
    monkeypatch.setattr(Path, "read_text", no_file)
    assert box._cores() == (1, 3)


def test_without_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert box._cores() == (0, 1, 2)
