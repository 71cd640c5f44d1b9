"""How many NVLinks join two GPUs, from what stands at the far end of each one's links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FarEnd:
    """What one active link leads to: a GPU (by its PCI bus id), or a switch."""

    bus_id: str | None
    is_switch: bool = False


def links_between(
    a_ends: Sequence[FarEnd] | None,
    b_ends: Sequence[FarEnd] | None,
    a_bus_id: str | None,
    b_bus_id: str | None,
    joined: bool | None,
) -> int | None:
    """Links that lead from one to the other, directly or through switches.

    `joined` is the driver's own word on the pair, which is what vLLM goes by: False is no link
    whatever the lanes say. A virtual machine hides far ends; then all links of the pair count.
    """
    if joined is False:
        return 0
    if a_ends is None or b_ends is None:
        return None
    direct = max(_leading_to(b_bus_id, a_ends), _leading_to(a_bus_id, b_ends))
    switched = min(_switched(a_ends), _switched(b_ends))
    found = direct + switched
    if found == 0 and joined:
        return min(len(a_ends), len(b_ends)) or None
    return found


def _leading_to(bus_id: str | None, ends: Sequence[FarEnd]) -> int:
    return sum(bus_id is not None and end.bus_id == bus_id for end in ends)


def _switched(ends: Sequence[FarEnd]) -> int:
    return sum(end.is_switch for end in ends)
