"""Bytes by device: what a model takes, what there is. A device is "gpu:0", "ram" or the like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from common.units import format_bytes

Bytes = Mapping[str, int]
NOTHING: Bytes = {}


def total(amounts: Iterable[Bytes]) -> Bytes:
    summed: Counter[str] = Counter()
    for amount in amounts:
        summed.update(amount)
    return summed


def most(one: Bytes, other: Bytes) -> Bytes:
    """The larger of the two on each device."""
    return {d: max(one.get(d, 0), other.get(d, 0)) for d in {**one, **other}}


def over(amount: Bytes, budget: Bytes) -> tuple[str, ...]:
    """The devices on which it is more than there is. One that the budget lacks has nothing."""
    return tuple(sorted(d for d, n_bytes in amount.items() if n_bytes > budget.get(d, 0)))


def in_words(amount: Bytes, devices: Iterable[str]) -> str:
    """For people: "20.0 GiB on gpu:0 and 3.0 GiB on ram"."""
    return " and ".join(f"{format_bytes(amount.get(d, 0))} on {d}" for d in devices)
