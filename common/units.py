"""Durations and sizes as people write them: "10m", "600s", 30, "1.5 GiB"."""

from __future__ import annotations

import re
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
GIB = 1 << 30


def parse_duration(value: Any) -> float:
    """Seconds from a number or from "90s", "10m", "1h30m". ValueError for anything else."""
    if (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)) or (
        isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value)
    ):
        seconds = float(value)
    elif isinstance(value, str) and re.fullmatch(f"({_DURATION.pattern})+", value):
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(value))
    else:
        raise ValueError(f'{value!r} is not a duration; write seconds or "90s", "10m", "1h30m"')
    if seconds <= 0:
        raise ValueError(f"{value!r} must be more than 0")
    return seconds


def format_bytes(n_bytes: float) -> str:
    """For people: "812 MiB", "3.4 GiB"."""
    if n_bytes < GIB:
        return f"{n_bytes / (1 << 20):.0f} MiB"
    return f"{n_bytes / GIB:.1f} GiB"


def format_duration(seconds: float) -> str:
    """For people: "42s", "3m 05s", "2h 10m"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    # Decimal, because a float's own text may be "1e+06", which is no duration.
    PlainSerializer(lambda s: f"{Decimal(repr(s)).normalize():f}s", return_type=str),
    WithJsonSchema({"type": ["number", "string"], "examples": ["600s", "10m", 30]}),
]
