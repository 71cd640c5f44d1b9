"""How long a model stays loaded after its last request, in Ollama's grammar.

"10m" or "1h30m", seconds as a number, any negative value for ever, 0 not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

# Go's units, which Ollama takes, and days.
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS["d"] = 86400.0
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_WHOLE = re.compile(rf"({_PART.pattern})+")
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")


@dataclass(frozen=True)
class KeepAlive:
    """`seconds` is None where the model stays for ever."""

    seconds: float | None

    @property
    def forever(self) -> bool:
        return self.seconds is None

    @property
    def at_once(self) -> bool:
        """It is unloaded as soon as nothing uses it."""
        return self.seconds == 0

    @property
    def as_number(self) -> float:
        """As Ollama's API and this grammar take it: seconds, or -1."""
        return -1 if self.seconds is None else self.seconds


def parse(value: Any) -> KeepAlive:
    """Raises ValueError, which names the value and what is allowed."""
    if isinstance(value, KeepAlive):
        return value
    seconds = _of_text(value.strip()) if isinstance(value, str) else _of_number(value)
    if seconds is None or not isfinite(seconds):
        raise ValueError(
            f'{value!r} is no keep_alive; write "10m" or "1h30m", a number of seconds, '
            "-1 to keep the model loaded for ever, or 0 to unload it at once"
        )
    return KeepAlive(None if seconds < 0 else seconds)


def _of_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _of_text(text: str) -> float | None:
    sign, unsigned = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if _NUMBER.fullmatch(unsigned):
        return sign * float(unsigned)
    if not _WHOLE.fullmatch(unsigned):
        return None
    return sign * sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(unsigned))


KeepAliveValue = Annotated[
    KeepAlive,
    BeforeValidator(parse),
    PlainSerializer(lambda keep: keep.as_number, return_type=float),
    WithJsonSchema({"type": ["number", "string"], "examples": ["10m", 300, -1, 0]}),
]
