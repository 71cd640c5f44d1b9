"""What to expect of a model that has no published figure: a line through those that have, by size.

Quality against the logarithm of the size, least squares over the general models of the table. A
model lies above or below that line as other versions of its series do in the mean; in a series
without figures, a specialist in its own field as the specialists there do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import log2
from statistics import fmean

from common.quality_config import Task
from router.catalog.benchmarks import table
from router.catalog.names import Kind, ModelName, read
from router.catalog.score import Score, clipped

# Assumptions of ours, where the table has no row that could tell.
_UNSEEN_SPECIALTY = 0.05
_OFF_SPECIALTY = -0.05

_FIELDS: dict[Kind, tuple[Task, ...]] = {
    "code": ("code",),
    "math": ("math",),
    "reasoning": ("math", "analysis", "code"),
    "translation": ("translation",),
}


@dataclass(frozen=True)
class Line:
    """quality = at_1b + per_doubling * log2(billions); no further than the largest model known."""

    at_1b: float
    per_doubling: float
    greatest_b: float

    def at(self, size_b: float) -> float:
        return self.at_1b + self.per_doubling * log2(min(self.greatest_b, size_b))


Point = tuple[ModelName, float, float]


def of_task(name: ModelName, task: Task) -> Score | None:
    """None where the size is not known, or for a model that does not chat."""
    size_b = name.effective_b
    if size_b is None or name.kind == "embedding":
        return None
    above, like = _above_line(name.series, name.kind, task)
    return Score(clipped(_line(task).at(size_b) + above), "prior", f"size {size_b:.3g}B, {like}")


def of_korean(name: ModelName) -> Score | None:
    size_b = name.effective_b
    if size_b is None or name.kind == "embedding":
        return None
    line, points = _korean()
    series = [point for point in points if point[0].series == name.series]
    same = [point for point in points if point[0].korean is name.korean]
    above = _mean_above(line, series or same)
    made = "made for Korean" if name.korean else "not made for Korean"
    like = f"as other {name.series}" if series else made
    return Score(clipped(line.at(size_b) + (above or 0.0)), "prior", f"size {size_b:.3g}B, {like}")


def fit(points: Sequence[Point]) -> Line:
    """Least squares; needs two sizes at least."""
    sizes = [size_b for _, size_b, _ in points]
    xs, ys = [log2(size_b) for size_b in sizes], [value for *_, value in points]
    x_mean, y_mean = fmean(xs), fmean(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    return Line(y_mean - slope * x_mean, slope, max(sizes))


@cache
def _line(task: Task) -> Line:
    """Translation has no figures, and takes the line of general chat."""
    benchmarks = table().tasks.get(task) or table().tasks["general"]
    return fit(_points(benchmarks, lambda name: name.kind == "general"))


@cache
def _korean() -> tuple[Line, list[Point]]:
    points = _points(table().languages["ko"])
    return fit([point for point in points if not point[0].korean]), points


@cache
def _above_line(series: str | None, kind: Kind, task: Task) -> tuple[float, str]:
    """How far such a model is expected above the line, and like whom."""
    points = _points(table().tasks.get(task, ()))
    same = [point for point in points if series and point[0].series == series]
    if same:
        return _mean_above(_line(task), same) or 0.0, f"as other {series}"
    if kind == "general":
        return 0.0, "general model"
    if task not in _FIELDS.get(kind, ()):
        return _OFF_SPECIALTY, f"{kind} model"
    above = _mean_above(_line(task), [point for point in points if point[0].kind == kind])
    return _UNSEEN_SPECIALTY if above is None else above, f"{kind} model"


def _mean_above(line: Line, points: Sequence[Point]) -> float | None:
    """None without points."""
    return fmean(value - line.at(size_b) for _, size_b, value in points) if points else None


def _points(
    benchmarks: Sequence[str], wanted: Callable[[ModelName], bool] = lambda name: True
) -> list[Point]:
    points = []
    for model, row in table().models.items():
        name, score = read(model), table().score(row, benchmarks)
        if score and name.effective_b and wanted(name):
            points.append((name, name.effective_b, score.value))
    return points
