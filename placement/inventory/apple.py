"""The GPU of a Mac with Apple silicon: system memory, of which macOS lends it a part."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from common.units import GIB
from placement.inventory.inventory import Gpu

_NAMES = ("hw.memsize", "hw.model", "machdep.cpu.brand_string", "iogpu.wired_limit_mb")
_MIB = 1 << 20
_TIMEOUT_S = 10


def read(available_bytes: int) -> Gpu | None:
    """None on anything but a Mac with Apple silicon."""
    return gpu(sysctl(), available_bytes) if sys.platform == "darwin" else None


def sysctl() -> dict[str, str]:
    """What the kernel says of each name; one that it does not know is left out."""
    try:
        done = subprocess.run(
            ("sysctl", *_NAMES), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(done.stdout)


def parse(text: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in text.splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}


def gpu(facts: Mapping[str, str], available_bytes: int) -> Gpu | None:
    """`reserved_bytes` is what macOS keeps from the GPU; None on an Intel Mac."""
    name = facts.get("machdep.cpu.brand_string", "")
    if not name.startswith("Apple"):
        return None
    memory_bytes = _number(facts.get("hw.memsize"))
    if not memory_bytes:
        return Gpu(0, "apple", name=name, error="`sysctl hw.memsize` does not tell its memory")
    limit = _number(facts.get("iogpu.wired_limit_mb")) * _MIB or default_limit(memory_bytes)
    limit = min(limit, memory_bytes)
    return Gpu(
        index=0,
        kind="apple",
        name=name,
        total_bytes=memory_bytes,
        reserved_bytes=memory_bytes - limit,
        free_bytes=min(limit, available_bytes),
    )


def default_limit(memory_bytes: int) -> int:
    """Where iogpu.wired_limit_mb is 0.

    llama.cpp logs of Metal's recommendedMaxWorkingSetSize: 21.3 GiB of 32, 48 of 64, 96 of 128;
    newer systems lend more (107.5 of 128).
    """
    return memory_bytes * 2 // 3 if memory_bytes <= 36 * GIB else memory_bytes * 3 // 4


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
