"""What follows from the facts of an inventory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link

CPU = Cpu(None, (0, 1), ((0, 1),), 64 * GIB, 32 * GIB)


def test_what_is_reserved_is_not_the_engines() -> None:
    assert Gpu(0).cuda_total_bytes is None
    assert Gpu(0, total_bytes=24 * GIB).cuda_total_bytes == 24 * GIB
    assert Gpu(0, total_bytes=24 * GIB, reserved_bytes=GIB).cuda_total_bytes == 23 * GIB


@pytest.mark.parametrize(
    ("gpu", "usable"),
    [
        (Gpu(0, total_bytes=GIB), True),
        (Gpu(0, kind="mig", mig_parent=1, total_bytes=GIB), True),
        (Gpu(0), False),
        (Gpu(0, total_bytes=GIB, mig_enabled=True), False),
        (Gpu(0, total_bytes=GIB, error="is lost"), False),
    ],
)
def test_usable(gpu: Gpu, usable: bool) -> None:
    assert gpu.usable is usable
    assert Inventory(CPU, (gpu,)).usable_gpus == ((gpu,) if usable else ())


def test_nvlinked_needs_a_link_between_every_two() -> None:
    box = Inventory(
        CPU,
        tuple(Gpu(index, total_bytes=GIB) for index in range(4)),
        (Link(0, 1, 4), Link(1, 2, 4), Link(0, 2, 4), Link(2, 3, 0), Link(1, 3, None)),
    )
    assert box.nvlinked((0, 1, 2))
    assert box.nvlinked((2, 0))
    assert not box.nvlinked((2, 3))
    assert not box.nvlinked((1, 3))
    assert not box.nvlinked((0, 1, 2, 3))
    assert not box.nvlinked((0,))
    assert not box.nvlinked(())


@given(n=st.integers(2, 8), data=st.data())
def test_one_missing_link_is_enough(n: int, data: st.DataObject) -> None:
    links = [Link(a, b, 1) for a in range(n) for b in range(a + 1, n)]
    whole = Inventory(CPU, links=tuple(links))
    assert whole.nvlinked(tuple(range(n)))
    links.pop(data.draw(st.integers(0, len(links) - 1)))
    assert not Inventory(CPU, links=tuple(links)).nvlinked(tuple(range(n)))
