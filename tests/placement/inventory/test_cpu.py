"""Cores, NUMA nodes and memory of this very box, and of boxes that are only described."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from placement.inventory import cpu


def test_the_cpu_is_this_one() -> None:
    found = cpu.read()
    assert found.total_memory_bytes == psutil.virtual_memory().total
    assert 0 < found.available_memory_bytes <= found.total_memory_bytes
    assert found.cores == cpu.cores()
    assert found.name != ""


def test_cores_are_ones_that_this_process_may_use() -> None:
    cores = cpu.cores()
    assert cores
    assert list(cores) == sorted(set(cores))
    assert set(cores) <= os.sched_getaffinity(0)


def test_of_each_physical_core_one_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5", 2: "2,6"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(siblings))
    monkeypatch.setattr(cpu, "_siblings", siblings.__getitem__)
    assert cpu.cores() == (0, 1, 2)


def test_without_a_topology_every_cpu_is_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 1})
    monkeypatch.setattr(Path, "read_text", no_file)
    assert cpu.cores() == (1, 3)


def test_without_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cpu.cores() == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3,8,10-11\n", (0, 1, 2, 3, 8, 10, 11)), ("5", (5,)), ("\n", ())],
)
def test_the_lists_of_the_kernel(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu.parse_list(text) == cpus


def test_nodes_stand_at_their_own_number(tmp_path: Path) -> None:
    for node, text in {0: "0-1,4-5", 2: "2-3", 3: ""}.items():
        (tmp_path / f"node{node}").mkdir()
        (tmp_path / f"node{node}" / "cpulist").write_text(f"{text}\n")
    assert cpu.numa_nodes(tmp_path) == ((0, 1, 4, 5), (), (2, 3), ())
    assert cpu.numa_nodes(tmp_path / "nowhere") == ()
