"""A quality between 0 and 1, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# "prior" is a guess from size and family; "unknown" is a stand-in where not even that is possible.
Basis = Literal["config", "published", "feedback", "prior", "unknown"]


@dataclass(frozen=True, slots=True)
class Score:
    value: float
    basis: Basis
    source: str

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"score {self.value!r} is not between 0 and 1")


UNKNOWN = Score(0.5, "unknown", "nothing is known, counted as 0.5")


def clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
