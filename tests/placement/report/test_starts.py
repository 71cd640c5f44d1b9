"""Earlier starts beside their predictions."""

from __future__ import annotations

from common.units import GIB
from placement.calibration.measurement import Row
from placement.report.starts import lines


def test_each_term_is_a_row_with_its_error() -> None:
    rows = [Row("kv_cache", 10 * GIB, 8 * GIB), Row("kv_cache_tokens", 99_000, 100_000)]
    _, head, *shown = lines({"m-0": rows})
    assert head.split() == ["LAST", "START", "OF", "TERM", "PREDICTED", "REPORTED", "ERROR"]
    assert shown[0].split() == ["m-0", "KV", "cache", "10.00", "GiB", "8.00", "GiB", "+25.0%"]
    assert shown[1].split() == ["m-0", "KV", "tokens", "99,000", "100,000", "-1.0%"]


def test_nothing_is_said_of_what_never_started() -> None:
    assert lines({}) == []
    assert lines({"m-0": []}) == []
