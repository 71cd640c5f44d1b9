"""What was predicted for earlier starts of the planned replicas, and what the engines reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from placement.calibration.measurement import Row
from placement.report.columns import columns
from placement.report.comparison import comparison


def lines(starts: Mapping[str, Sequence[Row]]) -> list[str]:
    """Nothing where nothing was started under these conditions."""
    rows = [(name, *comparison(row)) for name, found in starts.items() for row in found]
    if not rows:
        return []
    head = ("LAST START OF", "TERM", "PREDICTED", "REPORTED", "ERROR")
    return ["", *columns(head, rows, left=2)]
