"""Figures of a classifier from its answers on labelled prompts. Pure arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

from benchmarks.routing_set import Prompt
from router.classify import TASKS

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_BANDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_Z95 = 1.96  # standard normal, 95 % two-sided


@dataclass(frozen=True)
class Answer:
    prompt: Prompt
    task: str
    confidence: float

    @property
    def right(self) -> bool:
        return self.task == self.prompt.task


@dataclass(frozen=True)
class Share:
    """A share of `rows` with Wilson's 95 % interval."""

    rows: int
    passed: int

    @property
    def value(self) -> float:
        return self.passed / self.rows if self.rows else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        if not self.rows:
            return (0.0, 1.0)
        n, p, z2 = self.rows, self.value, _Z95**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return (max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class OfTask:
    """`labelled` prompts have this label, `said` got it, `both` have it and got it."""

    task: str
    labelled: int
    said: int
    both: int

    @property
    def precision(self) -> float:
        return self.both / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        return self.both / self.labelled if self.labelled else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.both / (self.labelled + self.said) if self.labelled + self.said else 0.0


@dataclass(frozen=True)
class Band:
    """Answers whose confidence is at least `low` and below `high` (the last band: up to 1)."""

    low: float
    high: float
    answers: Share
    mean_confidence: float


def accuracy(answers: Sequence[Answer]) -> Share:
    return Share(len(answers), sum(answer.right for answer in answers))


def per_task(answers: Sequence[Answer]) -> list[OfTask]:
    labelled = Counter(answer.prompt.task for answer in answers)
    said = Counter(answer.task for answer in answers)
    both = Counter(answer.task for answer in answers if answer.right)
    return [OfTask(task, labelled[task], said[task], both[task]) for task in TASKS]


def macro_f1(answers: Sequence[Answer]) -> float:
    """The mean over the tasks that have a label; a set may lack some."""
    known = [each.f1 for each in per_task(answers) if each.labelled]
    return sum(known) / len(known) if known else 0.0


def confusion(answers: Sequence[Answer]) -> list[list[int]]:
    """A row for each label, a column for each answer, in the order of TASKS."""
    counts = Counter((answer.prompt.task, answer.task) for answer in answers)
    return [[counts[label, said] for said in TASKS] for label in TASKS]


def groups(
    answers: Sequence[Answer], key: Callable[[Prompt], str | None]
) -> Mapping[str, list[Answer]]:
    """Prompts of which the key is unknown belong to no group."""
    found: dict[str, list[Answer]] = {}
    for answer in answers:
        name = key(answer.prompt)
        if name is not None:
            found.setdefault(name, []).append(answer)
    return dict(sorted(found.items()))


def commonest(answers: Sequence[Answer]) -> Share:
    """What would be reached by always saying the commonest label: the least to beat."""
    counts = Counter(answer.prompt.task for answer in answers)
    return Share(len(answers), max(counts.values(), default=0))


def confident(answers: Sequence[Answer], least: float) -> Share:
    """How many are at least this sure, and how many of these are right."""
    return accuracy([answer for answer in answers if answer.confidence >= least])


def bands(answers: Sequence[Answer]) -> list[Band]:
    return [_band(answers, low, high) for low, high in pairwise(_BANDS)]


def calibration_error(answers: Sequence[Answer]) -> float:
    """The mean distance of confidence from accuracy over the bands, weighted by answers."""
    total = len(answers)
    found = (band for band in bands(answers) if band.answers.rows)
    return sum(
        abs(band.mean_confidence - band.answers.value) * band.answers.rows / total for band in found
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _band(answers: Sequence[Answer], low: float, high: float) -> Band:
    last = high == _BANDS[-1]
    inside = [a for a in answers if low <= a.confidence < high or (last and a.confidence == high)]
    mean = sum(answer.confidence for answer in inside) / len(inside) if inside else 0.0
    return Band(low, high, accuracy(inside), mean)
