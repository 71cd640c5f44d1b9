"""Samples of a benchmark in rounds, and their comparison within each round.

Machines drift; a ratio or difference is taken between targets of the same round only, and its
median, least and greatest over the rounds are told.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.load import LoadResult


@dataclass(frozen=True)
class Sample:
    round: int
    target: str
    point: str
    result: LoadResult
    cpu_s: float  # of the target's own processes, while the load ran


Measure = Callable[[Sample], float]


@dataclass(frozen=True)
class Spread:
    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        known = list(values)
        return cls(median(known), min(known), max(known)) if known else None


def values(samples: Sequence[Sample], target: str, point: str, measure: Measure) -> Spread | None:
    found = [s for s in samples if (s.target, s.point) == (target, point)]
    return Spread.of(measure(each) for each in found)


def pairs(
    samples: Sequence[Sample], target: str, base: str, point: str
) -> Iterator[tuple[Sample, Sample]]:
    """(target's, base's) samples of each round that has both."""
    there = {s.round: s for s in samples if (s.target, s.point) == (base, point)}
    for sample in samples:
        if (sample.target, sample.point) == (target, point) and sample.round in there:
            yield sample, there[sample.round]


def ratio(
    samples: Sequence[Sample], target: str, base: str, point: str, measure: Measure
) -> Spread | None:
    both = pairs(samples, target, base, point)
    return Spread.of(measure(one) / measure(other) for one, other in both if measure(other))


def added(
    samples: Sequence[Sample], target: str, base: str, point: str, measure: Measure
) -> Spread | None:
    both = pairs(samples, target, base, point)
    return Spread.of(measure(one) - measure(other) for one, other in both)
