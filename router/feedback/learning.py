"""What is learnt from feedback, as the router asks for it: scores by model, what to try, a table.

Reading is from memory; `record`, `refresh`, `reset` and `flush` touch the disk and block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

from common.quality_config import LearningConfig
from router.catalog.profile import Profile
from router.catalog.score import Score, clipped
from router.feedback.explore import Explorer
from router.feedback.posterior import Key, Posterior, Settings, posteriors
from router.feedback.signals import Signal
from router.feedback.store import Limits, Routed, Store

_TWO_SIDED_95 = 1.96


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table. `low` to `high`: where the mean is with 95 %, as the model sees it."""

    task: str
    model: str
    score: float
    low: float
    high: float
    ratings: float
    prior: float
    basis: str
    source: str


class Learning:
    """`profiles` are what is known before any feedback."""

    def __init__(
        self,
        store: Store,
        profiles: Iterable[Profile],
        config: LearningConfig,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = Settings(config.prior_weight, config.shrinkage)
        self._explorer = Explorer(config.explore, config.seed)
        self._priors: dict[Key, Score] = {
            (task, profile.model): score
            for profile in profiles
            for task, score in profile.quality.items()
        }
        self._posteriors: Mapping[Key, Posterior] = {}
        self._quality: Mapping[str, Mapping[str, Score]] = {}
        self.refresh()

    def quality(self, model: str) -> Mapping[str, Score]:
        """By task; the same object until the next refresh."""
        return self._quality.get(model, {})

    def explore(self, task: str, models: Iterable[str]) -> str | None:
        """A model to try instead of the best, for a small share of requests."""
        keys = ((task, model) for model in models)
        able = {key[1]: self._posteriors[key] for key in keys if key in self._posteriors}
        return self._explorer.pick(able)

    def remember(self, request_id: str, task: str, model: str) -> None:
        self._store.remember(request_id, Routed(task, model), self._clock())

    def flush(self) -> None:
        """To be called now and then, so that other processes know of this one's requests."""
        self._store.flush(self._clock())

    def close(self) -> None:
        self.flush()
        self._store.close()

    def record(self, request_id: str, signals: Iterable[Signal]) -> Routed | None:
        """Raises BadRequestError for an unknown request. None when there was no signal."""
        routed = None
        for signal in signals:
            routed = self._store.record(request_id, signal, self._clock())
        self.refresh()
        return routed

    def refresh(self) -> None:
        """Takes in what all processes have recorded, and what has faded."""
        found = posteriors(self._priors, self._store.tallies(self._clock()), self._settings)
        quality: dict[str, dict[str, Score]] = {}
        for (task, model), posterior in found.items():
            quality.setdefault(model, {})[task] = posterior.score
        self._posteriors, self._quality = found, quality

    def reset(self, *, model: str | None = None, task: str | None = None) -> int:
        gone = self._store.reset(model=model, task=task)
        self.refresh()
        return gone

    def table(self) -> list[Entry]:
        """By task, the best first."""
        entries = [_entry(key, posterior) for key, posterior in self._posteriors.items()]
        return sorted(entries, key=lambda entry: (entry.task, -entry.score, entry.model))


def limits(config: LearningConfig) -> Limits:
    return Limits(
        remember_s=config.remember_s,
        max_requests=config.max_requests,
        decay_per_day=config.decay_per_day,
    )


def _entry(key: Key, posterior: Posterior) -> Entry:
    task, model = key
    score, mean = posterior.score, clipped(posterior.mean)
    spread = sqrt(mean * (1 - mean) / (posterior.alpha + posterior.beta + 1))
    return Entry(
        task=task,
        model=model,
        score=score.value,
        low=clipped(mean - _TWO_SIDED_95 * spread),
        high=clipped(mean + _TWO_SIDED_95 * spread),
        ratings=posterior.tally.weight,
        prior=posterior.prior.value,
        basis=score.basis,
        source=score.source,
    )
