"""What is made of NVML's answers; the driver itself is played here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from common.units import GIB
from placement.nvml import Gpu, gpus


class Driver:
    """The few functions of NVML that are called, over cards that are only described."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free_gib: tuple[int, ...]) -> None:
        self.free_gib = free_gib
        self.is_open = False
        for name in ("Init", "Shutdown"):
            monkeypatch.setattr(pynvml, f"nvml{name}", getattr(self, name.lower()))
        for name, function in {
            "Count": lambda: len(free_gib),
            "HandleByIndex": lambda index: index,
            "MemoryInfo": self.memory,
            "UUID": lambda handle: f"GPU-{handle}",
            "Name": lambda handle: "NVIDIA GeForce RTX 4090",
        }.items():
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", function)

    def init(self) -> None:
        self.is_open = True

    def shutdown(self) -> None:
        self.is_open = False

    def memory(self, handle: int, version: Any) -> SimpleNamespace:
        assert version == pynvml.nvmlMemory_v2, "the first version does not know `reserved`"
        free = self.free_gib[handle] * GIB
        return SimpleNamespace(total=24 * GIB, reserved=GIB // 2, free=free)


def test_every_card_is_read_and_the_driver_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, (23, 5))
    usable = 24 * GIB - GIB // 2
    name = "NVIDIA GeForce RTX 4090"
    assert gpus() == [
        Gpu(0, "GPU-0", name, usable, 23 * GIB),
        Gpu(1, "GPU-1", name, usable, 5 * GIB),
    ]
    assert not driver.is_open


def test_a_box_without_the_driver_has_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert gpus() == []


def test_the_driver_is_closed_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, (1,))

    def lost(_: int) -> str:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lost)
    with pytest.raises(pynvml.NVMLError):
        gpus()
    assert not driver.is_open
