"""What finding the task is worth: published scores of the model that would have answered.

For every pool of five models out of those between 2 and 10 billion parameters whose scores are
published for all tasks, the mean score over the labelled prompts: of the model that is best at the
task that was found, of the one model that is best on the whole (known only afterwards), and of the
best at the labelled task. For translation nothing is published; its prompts are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from benchmarks.routing_figures import Answer
from router.catalog.benchmarks import table
from router.catalog.names import read

POOL = 5
_LEAST_B, _MOST_B = 2.0, 10.0
Scores = Mapping[str, float]  # by task


@dataclass(frozen=True)
class Worth:
    """Mean scores from 0 to 1 over `pools` pools of POOL models."""

    pools: int
    prompts: int
    any_model: float
    routed: float
    best_single: float
    oracle: float


def worth(answers: Sequence[Answer]) -> Worth:
    models = list(_published().values())
    known = set(models[0])
    asked: Counter[tuple[str, str]] = Counter(
        (a.prompt.task, a.task) for a in answers if a.prompt.task in known
    )
    pools = [_of(pool, asked) for pool in combinations(models, POOL)]
    return Worth(len(pools), asked.total(), *(fmean(column) for column in zip(*pools, strict=True)))


def _of(
    pool: Sequence[Scores], asked: Mapping[tuple[str, str], int]
) -> tuple[float, float, float, float]:
    """Any, routed, best single, oracle. `asked` counts (labelled task, found task)."""
    total = sum(asked.values())
    means = [sum(scores[label] * n for (label, _), n in asked.items()) / total for scores in pool]
    routed = sum(_best(pool, found)[label] * n for (label, found), n in asked.items())
    oracle = sum(_best(pool, label)[label] * n for (label, _), n in asked.items())
    return fmean(means), routed / total, max(means), oracle / total


def _best(pool: Sequence[Scores], task: str) -> Scores:
    """By the mean of its scores where none is published for the task."""
    return max(pool, key=lambda scores: scores.get(task, fmean(scores.values())))


def _published() -> Mapping[str, Scores]:
    found = table()
    scores = {
        model: {
            str(task): score.value
            for task, benchmarks in found.tasks.items()
            if (score := found.score(row, benchmarks)) is not None
        }
        for model, row in found.models.items()
        if _LEAST_B <= (read(model).size_b or 0) <= _MOST_B
    }
    return {model: each for model, each in scores.items() if len(each) == len(found.tasks)}
