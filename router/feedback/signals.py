"""What may teach: a person's rating, or the outcome of a check. Never an answer's looks.

Length, line breaks and code fences say next to nothing about quality, so nothing here reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from common.errors import BadRequestError

Kind = Literal["rating", "json", "tests", "agreement"]

_WORDS: Mapping[str, float] = {"up": 1.0, "good": 1.0, "down": 0.0, "bad": 0.0}
_STARS = range(1, 6)


@dataclass(frozen=True, slots=True)
class Signal:
    """`reward` is 0 to 1; `weight` is 1 for a person's rating."""

    kind: Kind
    reward: float
    weight: float = 1.0


# That answers agree is a sign of being right and no proof, so it weighs half: a choice of ours.
OUTCOMES: Mapping[str, Signal] = {
    "json_valid": Signal("json", 1.0),
    "json_invalid": Signal("json", 0.0),
    "tests_passed": Signal("tests", 1.0),
    "tests_failed": Signal("tests", 0.0),
    "answers_agree": Signal("agreement", 1.0, 0.5),
    "answers_differ": Signal("agreement", 0.0, 0.5),
}


def rating(value: object) -> Signal:
    """From "up" or "down", true or false, or 1 to 5 stars."""
    if isinstance(value, bool):
        return Signal("rating", float(value))
    if isinstance(value, int) and value in _STARS:
        return Signal("rating", (value - 1) / 4)
    if isinstance(value, str) and value.lower() in _WORDS:
        return Signal("rating", _WORDS[value.lower()])
    raise BadRequestError(
        f'rating {value!r} is none; "up", "down", true, false or 1 to 5 are', param="rating"
    )


def outcome(value: object) -> Signal:
    signal = OUTCOMES.get(value) if isinstance(value, str) else None
    if signal is None:
        raise BadRequestError(
            f"outcome {value!r} is none; one of: {', '.join(OUTCOMES)}", param="outcome"
        )
    return signal
