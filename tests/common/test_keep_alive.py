"""Ollama's grammar for how long a model stays."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from common.keep_alive import KeepAlive, KeepAliveValue, parse


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5h", 1800),
        ("250ms", 0.25),
        ("1d", 86400),
        ("90s", 90),
        (" 5m ", 300),
        ("+5m", 300),
        ("300", 300),
        (300, 300),
        (2.5, 2.5),
    ],
)
def test_a_time(value: Any, seconds: float) -> None:
    keep = parse(value)
    assert keep.seconds == pytest.approx(seconds)
    assert not keep.forever
    assert not keep.at_once
    assert keep.as_number == pytest.approx(seconds)


@pytest.mark.parametrize("value", [-1, -0.5, "-1", "-1m", "-24h"])
def test_anything_negative_is_for_ever(value: Any) -> None:
    keep = parse(value)
    assert keep == KeepAlive(None)
    assert keep.forever
    assert not keep.at_once
    assert keep.as_number == -1


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s", "0m", "-0"])
def test_nothing_is_at_once(value: Any) -> None:
    keep = parse(value)
    assert keep.at_once
    assert not keep.forever
    assert keep.as_number == 0


@pytest.mark.parametrize(
    "value", ["", "-", "soon", "5 m", "10x", "m", "1h-3m", "--1", True, None, [], math.inf]
)
def test_what_is_none_is_told_with_what_is_allowed(value: Any) -> None:
    with pytest.raises(ValueError, match="is no keep_alive") as caught:
        parse(value)
    assert repr(value) in str(caught.value)
    assert '"10m"' in str(caught.value)
    assert "-1" in str(caught.value)


@given(st.floats(min_value=0, max_value=1e9) | st.just(-1.0))
def test_what_is_written_is_read_again(seconds: float) -> None:
    keep = parse(seconds)
    assert parse(keep.as_number) == keep
    assert parse(keep) is keep


@given(st.integers(0, 100), st.integers(0, 59), st.integers(0, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parse(f"{hours}h{minutes}m{seconds}s").seconds == hours * 3600 + minutes * 60 + seconds


class _Model(BaseModel):
    keep_alive: KeepAliveValue | None = None


def test_in_a_config() -> None:
    assert _Model.model_validate({"keep_alive": "10m"}).keep_alive == KeepAlive(600)
    dumped = _Model.model_validate({"keep_alive": -1}).model_dump(mode="json")
    assert dumped == {"keep_alive": -1}
    assert _Model.model_validate(dumped).keep_alive == KeepAlive(None)
    assert _Model.model_validate({}).keep_alive is None
    with pytest.raises(ValidationError, match="'soon' is no keep_alive"):
        _Model.model_validate({"keep_alive": "soon"})
