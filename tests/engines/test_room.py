"""The last look at the GPUs before a start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import OutOfMemoryError
from common.units import GIB
from engines.room import shortage, wait_for_room
from placement.inventory.inventory import Gpu, Process

FREE = Gpu(0, name="Card", total_bytes=24 * GIB, free_bytes=20 * GIB, processes=())
TAKEN = replace(
    FREE,
    index=1,
    free_bytes=2 * GIB,
    processes=(Process(77, "python", 18 * GIB), Process(8, None, None)),
)
LOST = Gpu(2, error="it has fallen off the bus")
SLICE = replace(FREE, index=3, kind="mig", uuid="MIG-1")


def test_enough_is_enough() -> None:
    assert shortage(["0", "MIG-1"], 20 * GIB, [FREE, TAKEN, LOST, SLICE]) == ""


@pytest.mark.parametrize(
    ("gpu_id", "said"),
    [
        (
            "1",
            (
                "GPU 1 has 2.0 GiB free, the engine is planned with 8.0 GiB; "
                "it is held by python 77 (18.0 GiB), process 8"
            ),
        ),
        ("2", "GPU 2 cannot be used: it has fallen off the bus"),
        ("3", "GPU 3 is not there any more; see `roundhouse gpus`"),
    ],
)
def test_a_shortage_names_gpu_and_cause(gpu_id: str, said: str) -> None:
    assert shortage(["0", gpu_id], 8 * GIB, [FREE, TAKEN, LOST, SLICE]) == said


def test_memory_that_nobody_can_read_is_not_judged() -> None:
    assert shortage(["0"], 8 * GIB, [replace(FREE, free_bytes=None)]) == ""


def test_a_shortage_that_passes_is_waited_out() -> None:
    readings = [[replace(FREE, free_bytes=GIB)], [FREE]]
    wait_for_room(["0"], 8 * GIB, lambda: readings.pop(0), timeout_s=60)
    assert readings == []


def test_a_shortage_that_stays_is_an_error() -> None:
    with pytest.raises(OutOfMemoryError, match=r"GPU 1 has 2\.0 GiB free"):
        wait_for_room(["1"], 8 * GIB, lambda: [TAKEN], timeout_s=0)
