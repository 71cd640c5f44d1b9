"""NVIDIA GPUs by NVML; the only file that imports pynvml."""

from __future__ import annotations

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment. `usable_bytes` is total less what the driver keeps for itself."""

    index: int
    uuid: str
    name: str
    usable_bytes: int
    free_bytes: int


def gpus() -> list[Gpu]:
    """Every GPU that NVML lists; none on a box without the NVIDIA driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _read(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        usable_bytes=memory.total - memory.reserved,
        free_bytes=memory.free,
    )
