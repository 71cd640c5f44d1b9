"""The CPU side of a box: cores, NUMA nodes and memory."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import psutil

from placement.inventory.inventory import Cpu

_CPUINFO = Path("/proc/cpuinfo")
_NODES = Path("/sys/devices/system/node")


def read() -> Cpu:
    memory = psutil.virtual_memory()
    return Cpu(
        name=_name(),
        cores=cores(),
        numa_nodes=numa_nodes(),
        total_memory_bytes=memory.total,
        available_memory_bytes=memory.available,
    )


def cores() -> tuple[int, ...]:
    """One logical CPU of each physical core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(os.cpu_count() or 1))
    by_core = {_siblings(cpu): cpu for cpu in sorted(os.sched_getaffinity(0), reverse=True)}
    return tuple(sorted(by_core.values()))


def _siblings(cpu: int) -> str:
    """The logical CPUs of one physical core, as the kernel writes them."""
    file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return file.read_text().strip()
    except OSError:
        return str(cpu)


def numa_nodes(folder: Path = _NODES) -> tuple[tuple[int, ...], ...]:
    """The logical CPUs of every node, by its number; empty where the kernel names no nodes."""
    lists = {int(file.parent.name[4:]): file for file in folder.glob("node[0-9]*/cpulist")}
    if not lists:
        return ()
    return tuple(_cpus(lists.get(node)) for node in range(max(lists) + 1))


def _cpus(file: Path | None) -> tuple[int, ...]:
    try:
        return parse_list(file.read_text()) if file else ()
    except OSError:
        return ()


def parse_list(text: str) -> tuple[int, ...]:
    """The kernel's "0-3,8,10-11"."""
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return tuple(cpu for each in ends for cpu in range(int(each[0]), int(each[-1]) + 1))


def _name() -> str | None:
    try:
        found = re.search(r"^model name\s*: (.+)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or None
