"""GPUs that share the system's memory (GB10 of the DGX Spark, Jetson), of which NVML knows nothing.

Only by name: a broken GPU may hide its memory as well, and must not be taken for one of these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from placement.inventory.inventory import Gpu

MEMINFO = Path("/proc/meminfo")

# As NVML writes them: "NVIDIA GB10", "NVIDIA Thor", "Orin (nvgpu)".
_UNIFIED = re.compile(r"\b(GB10|Thor|Orin|Xavier|Tegra|nvgpu)\b", re.IGNORECASE)
_LINE = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    total_bytes: int
    available_bytes: int


def is_unified(name: str | None) -> bool:
    return bool(name and _UNIFIED.search(name))


def memory(meminfo: Path = MEMINFO) -> Memory | None:
    """What the system has, and what it could still give. None where the file does not say."""
    try:
        found = dict(_LINE.findall(meminfo.read_text()))
        return Memory(int(found["MemTotal"]) * 1024, int(found["MemAvailable"]) * 1024)
    except (OSError, KeyError):
        return None


def settled(gpu: Gpu, meminfo: Path = MEMINFO) -> Gpu:
    """The same GPU with the system's memory if it is of this kind; with an error if it has none.

    MemAvailable is taken even where a driver gives figures, since vLLM goes by it on such devices.
    """
    if gpu.error:
        return gpu
    if is_unified(gpu.name):
        return _sharing(gpu, memory(meminfo), meminfo)
    if gpu.total_bytes is None:
        return replace(gpu, error="NVML gives no memory figures for it: check `nvidia-smi`")
    return gpu


def _sharing(gpu: Gpu, system: Memory | None, meminfo: Path) -> Gpu:
    if system is None:
        return replace(gpu, kind="unified", error=f"shares memory that {meminfo} does not tell of")
    return replace(
        gpu,
        kind="unified",
        total_bytes=system.total_bytes,
        reserved_bytes=0,
        used_bytes=system.total_bytes - system.available_bytes,
        free_bytes=system.available_bytes,
    )
