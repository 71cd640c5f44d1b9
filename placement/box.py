"""What this box has, as far as a simple layout needs it: GPUs, cores, memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from placement import nvml
from placement.nvml import Gpu


@dataclass(frozen=True)
class Box:
    """`cores` lists one logical CPU of each physical core that this process may use."""

    gpus: tuple[Gpu, ...]
    cores: tuple[int, ...]
    total_memory_bytes: int
    available_memory_bytes: int


def look() -> Box:
    memory = psutil.virtual_memory()
    return Box(
        gpus=tuple(nvml.gpus()),
        cores=_cores(),
        total_memory_bytes=memory.total,
        available_memory_bytes=memory.available,
    )


def _cores() -> tuple[int, ...]:
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
