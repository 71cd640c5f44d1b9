"""What answers to the same questions say of those who gave them. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from random import Random
from statistics import fmean, median, quantiles

from benchmarks.ensembles_questions import Question, is_right
from benchmarks.routing_figures import Share

_RESAMPLES = 10_000


@dataclass(frozen=True)
class Given:
    """One answer. `prompt_tokens` and `output_tokens` are of all calls behind it."""

    question: Question
    text: str
    model: str
    took_s: float
    prompt_tokens: int
    output_tokens: int
    requests: int = 1  # answers generated for it
    wasted_tokens: int = 0
    escalated: bool = False

    @property
    def is_right(self) -> bool:
        return is_right(self.question, self.text)


@dataclass(frozen=True)
class Figures:
    """Of one way to ask. Tokens and requests are means of a question."""

    name: str
    right: Share
    by_language: Mapping[str, Share]
    prompt_tokens: float
    output_tokens: float
    wasted_tokens: float
    requests: float
    escalated: Share
    p50_s: float
    p90_s: float


@dataclass(frozen=True)
class Difference:
    """In points of percent, on the same questions: those that only one of the two got right."""

    name: str
    base: str
    only_this: int
    only_base: int
    points: float
    interval: tuple[float, float]  # 95 %, by bootstrap over questions
    p: float  # exact McNemar, two-sided

    @property
    def is_significant(self) -> bool:
        return self.p < 0.05


def figures(name: str, given: Sequence[Given]) -> Figures:
    times = [each.took_s for each in given]
    return Figures(
        name,
        _share(given),
        {
            lang: _share([each for each in given if each.question.lang == lang])
            for lang in sorted({each.question.lang for each in given})
        },
        fmean(each.prompt_tokens for each in given),
        fmean(each.output_tokens for each in given),
        fmean(each.wasted_tokens for each in given),
        fmean(each.requests for each in given),
        Share(len(given), sum(each.escalated for each in given)),
        median(times),
        quantiles(times, n=10)[-1] if len(times) > 1 else times[0],
    )


def difference(
    name: str, given: Sequence[Given], base: str, others: Sequence[Given], seed: int = 0
) -> Difference:
    """Raises ValueError when they were not asked the same."""
    deltas = [
        each.is_right - other.is_right
        for each, other in zip(given, others, strict=True)
        if _same(each, other)
    ]
    only_this, only_base = deltas.count(1), deltas.count(-1)
    return Difference(
        name,
        base,
        only_this,
        only_base,
        100 * fmean(deltas),
        bootstrap(deltas, seed),
        mcnemar(only_this, only_base),
    )


def mcnemar(one: int, other: int) -> float:
    """How likely such an uneven split is when neither of the two is better."""
    n = one + other
    tail = sum(comb(n, k) for k in range(min(one, other) + 1))
    return min(1.0, 2 * tail / (1 << n))


def bootstrap(deltas: Sequence[int], seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of the means of resamples, in points."""
    random, n = Random(seed), len(deltas)
    means = sorted(sum(random.choices(deltas, k=n)) / n for _ in range(_RESAMPLES))
    low, high = means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1]
    return 100 * low, 100 * high


def _same(each: Given, other: Given) -> bool:
    if each.question.id != other.question.id:
        raise ValueError(f"{each.question.id} and {other.question.id} are not the same question")
    return True


def _share(given: Sequence[Given]) -> Share:
    return Share(len(given), sum(each.is_right for each in given))
