"""What code and patterns that came with a request may use while an answer is checked."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory_bytes`, `cpu_s` and `file_bytes` hold for each of its processes."""

    wall_s: float = 30.0  # a busy box is no fault of the code
    cpu_s: int = 10
    memory_bytes: int = 512 * _MIB
    file_bytes: int = 8 * _MIB
    disk_bytes: int = 32 * _MIB  # all files together; they lie in memory
    processes: int = 4  # threads count, too


CODE = Limits()
# A schema validator is loaded, and then has little to do.
MATCH = Limits(cpu_s=3, memory_bytes=1024 * _MIB)
