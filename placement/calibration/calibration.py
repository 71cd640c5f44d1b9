"""What engines reported at earlier starts, and what the next prediction learns from it. Pure.

The same start as before gets what was reported. Another model on the same GPU and version gets its
prediction, corrected by what that was wrong by there. Anything else stays a prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from common.units import GIB
from placement.calibration.conditions import Conditions, conditions
from placement.calibration.measurement import Measurement
from placement.footprint.settings import Device, Settings
from placement.models.facts import ModelFacts

_ROUNDING_BYTES = GIB // 200  # engines write two decimals of a GiB


class Calibration:
    """Measurements, found by what they have in common with the start in question."""

    def __init__(self, measurements: Iterable[Measurement] = ()) -> None:
        self.measurements = tuple(sorted(measurements, key=lambda each: each.taken_at))
        self._by_place: dict[object, list[Measurement]] = defaultdict(list)
        self._by_shards: dict[object, list[Measurement]] = defaultdict(list)
        for each in self.measurements:
            self._by_place[_place(each.conditions)].append(each)
            self._by_shards[each.conditions.shards].append(each)

    def term(
        self,
        name: str,
        facts: ModelFacts,
        settings: Settings,
        device: Device,
        predicted_bytes: int,
    ) -> tuple[int, str] | None:
        """A term's bytes and what they rest on; None where nothing was learnt.

        `predicted_bytes` must be the formula's, without calibration.
        """
        if not self.measurements:
            return None
        here = conditions(facts, settings, device)
        near = self._by_place.get(_place(here), []) if here.version else []
        same = self._by_shards.get(here.shards, []) if name == "weights" else near
        alike = [m for m in same if name == "weights" or m.conditions == here]
        alike = [m for m in alike if name in m.learnt]
        if alike:
            return _reported(name, alike, predicted_bytes)
        if name == "weights" or (name == "cudagraph" and here.enforce_eager):
            return None
        comparable = [m for m in near if here.shares(name, m.conditions)]
        return _corrected(name, comparable, here, predicted_bytes)

    def last(self, facts: ModelFacts, settings: Settings, device: Device) -> Measurement | None:
        """The latest start under the same conditions, to show beside a prediction."""
        here = conditions(facts, settings, device)
        same = (m for m in reversed(self.measurements) if m.conditions == here)
        return next(same, None)


def _place(here: Conditions) -> object:
    return here.gpu, here.version and here.version[:2]


def _reported(name: str, alike: Sequence[Measurement], predicted_bytes: int) -> tuple[int, str]:
    n_bytes = max(0, round(median(m.learnt[name] for m in alike)))
    if abs(n_bytes - predicted_bytes) <= _ROUNDING_BYTES:  # then the prediction is the finer one
        return predicted_bytes, f"confirmed by {_starts(alike)}"
    return n_bytes, f"reported by {_starts(alike)}"


def _corrected(
    name: str, near: Sequence[Measurement], here: Conditions, predicted_bytes: int
) -> tuple[int, str] | None:
    known = [m for m in near if m.corrected(name, predicted_bytes) is not None]
    alike = _most_alike(known, here)
    if not alike:
        return None
    n_bytes = median(m.corrected(name, predicted_bytes) or 0.0 for m in alike)
    return max(0, round(n_bytes)), f"learnt from {_starts(alike)} on this GPU and version"


def _most_alike(near: Sequence[Measurement], here: Conditions) -> list[Measurement]:
    best = max((here.likeness(m.conditions) for m in near), default=None)
    return [m for m in near if here.likeness(m.conditions) == best]


def _starts(measurements: Sequence[Measurement]) -> str:
    models = ", ".join(dict.fromkeys(m.model for m in measurements))
    n = len(measurements)
    return f"{n} start{'s' if n > 1 else ''} of {models}"
