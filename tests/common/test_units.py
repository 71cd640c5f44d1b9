"""Durations and sizes, as they are written and as they are shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.units import GIB, Duration, format_bytes, format_duration, parse_duration

duration: TypeAdapter[float] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (30, 30.0),
        (0.5, 0.5),
        ("30", 30.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("250ms", 0.25),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1h30m", 5400.0),
        ("1m500ms", 60.5),
        ("1.5h", 5400.0),
    ],
)
def test_every_way_to_write_a_duration(written: Any, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)
    assert duration.validate_python(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "m",
        "10 m",
        "10min",
        "s10",
        "1h 30m",
        "-5s",
        "1e3",
        "ten",
        None,
        True,
        [5],
        "10m\n",
        "१0",
    ],
)
def test_other_words_are_refused_with_how_to_write_it(written: Any) -> None:
    with pytest.raises(ValueError, match=r'is not a duration; write seconds or "90s"') as refused:
        parse_duration(written)
    assert repr(written) in str(refused.value)


@pytest.mark.parametrize("written", [0, -1, "0", "0s", "0h0m", -0.5])
def test_a_duration_is_more_than_nothing(written: Any) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        parse_duration(written)


@pytest.mark.parametrize("written", [float("nan"), float("inf"), float("-inf")])
def test_a_duration_is_finite(written: float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(written)


def test_pydantic_tells_the_same() -> None:
    with pytest.raises(ValidationError, match="'soon' is not a duration"):
        duration.validate_python("soon")


@given(st.integers(1, 10**7), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_what_is_written_out_reads_back(count: int, unit: str) -> None:
    seconds = parse_duration(f"{count}{unit}")
    assert parse_duration(f"{seconds:.3f}s") == pytest.approx(seconds)
    written = duration.dump_python(seconds, mode="json")
    assert parse_duration(written) == seconds


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_parts_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    written = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration(written) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (0, "0 MiB"),
        (812 << 20, "812 MiB"),
        (GIB - (1 << 20), "1023 MiB"),
        (GIB, "1.0 GiB"),
        (int(3.44 * GIB), "3.4 GiB"),
        (80 * GIB, "80.0 GiB"),
    ],
)
def test_sizes_are_shown_for_people(n_bytes: int, shown: str) -> None:
    assert format_bytes(n_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (42.9, "42s"),
        (60, "1m 00s"),
        (185, "3m 05s"),
        (3599, "59m 59s"),
        (7800, "2h 10m"),
        (90_000, "25h 00m"),
    ],
)
def test_durations_are_shown_for_people(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
