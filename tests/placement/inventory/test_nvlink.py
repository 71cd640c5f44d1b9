"""How many NVLinks join two GPUs."""

from __future__ import annotations

import pytest

from placement.inventory.nvlink import FarEnd, links_between

A, B, OTHER = "0:01", "0:41", "0:81"
SWITCH = FarEnd("0:05", is_switch=True)


def to(bus_id: str, lanes: int) -> list[FarEnd]:
    return [FarEnd(bus_id)] * lanes


@pytest.mark.parametrize(
    ("a_ends", "b_ends", "joined", "links"),
    [
        ([], [], None, 0),
        ([], [], False, 0),
        (to(B, 4), to(A, 4), True, 4),
        (to(B, 4), to(A, 4), None, 4),
        (to(B, 4), to(A, 4), False, 0),  # lanes are up, but the driver refuses the way
        (to(B, 4), [], True, 4),  # one side tells
        (to(OTHER, 4), to(OTHER, 4), False, 0),
        (to(B, 2) + to(OTHER, 2), to(A, 2) + to(OTHER, 2), True, 2),
        ([SWITCH] * 18, [SWITCH] * 18, True, 18),
        ([SWITCH] * 18, [SWITCH] * 12, True, 12),
        ([SWITCH] * 18, to(OTHER, 4), False, 0),
        ([FarEnd(None)] * 6, [FarEnd(None)] * 6, True, 6),  # a virtual machine hides far ends
        ([FarEnd(None)] * 6, [FarEnd(None)] * 6, None, 0),
        ([], [], True, None),  # joined, but nothing says by how many
        (None, to(A, 4), True, None),
        (None, None, None, None),
        (None, None, False, 0),
    ],
)
def test_links_between(
    a_ends: list[FarEnd] | None, b_ends: list[FarEnd] | None, joined: bool | None, links: int | None
) -> None:
    assert links_between(a_ends, b_ends, A, B, joined) == links
    assert links_between(b_ends, a_ends, B, A, joined) == links


def test_a_hidden_bus_id_matches_nothing() -> None:
    assert links_between([FarEnd(None)], [FarEnd(None)], None, None, None) == 0
