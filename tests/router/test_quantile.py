"""The quantile of what came lately."""

from __future__ import annotations

import random

import pytest

from router.quantile import RecentQuantile


def test_few_values_say_nothing() -> None:
    here = RecentQuantile(0.95)
    for _ in range(39):
        here.add(1.0)
        assert here.value() is None
    here.add(1.0)
    assert here.value() == 1.0


def test_it_is_the_quantile() -> None:
    here = RecentQuantile(0.95)
    values = [i / 100 for i in range(200)]
    random.Random(1).shuffle(values)
    for value in values:
        here.add(value)
    assert here.value() == pytest.approx(1.89)


def test_old_values_are_forgotten() -> None:
    here = RecentQuantile(0.95)
    for value in [9.0] * 100 + [1.0] * 256:
        here.add(value)
    assert here.value() == 1.0


def test_it_follows_though_it_is_not_worked_out_each_time() -> None:
    here = RecentQuantile(0.5)
    for _ in range(40):
        here.add(1.0)
    assert here.value() == 1.0
    for _ in range(60):
        here.add(3.0)
    assert here.value() == 3.0
