"""The measurement of an ensemble's overhead works; what it gives depends on the machine."""

from __future__ import annotations

from tests.gateway.ensembles.overhead import measure


def test_it_measures() -> None:
    slowest, whole = measure(3)
    assert len(slowest) == len(whole) == 3
    assert min(whole) >= 0.05
