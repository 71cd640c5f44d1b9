"""How good a model is at a task, from what is published of it and from ratings. Pure arithmetic.

Each (task, model) has a Beta posterior, whose prior counts for `prior_weight` ratings. Ratings are
no benchmark points: users may be kinder or harsher than a benchmark, to all models alike. So the
priors of a task are first moved by the level that its ratings have in common. Then all priors of a
model are moved towards how it did over all tasks, half of the way after `shrinkage` ratings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.catalog.score import Score, clipped

Key = tuple[str, str]  # task, model

# What a guess weighs beside a published or configured score, and a stand-in.
_GUESS_SHARE = 1 / 3
_UNKNOWN_WEIGHT = 2.0
# Ratings of one model until its distance to the prior is believed to be half real.
_HALF_BELIEVED = 20.0
# No prior is certain, or ratings could never move it.
_SURE = 0.99
# Until so many models moved alike, a move is put down to the model as much as to the level.
_LEVEL_DOUBT = 1.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Decayed sums over ratings: of the rewards (each 0 to 1, times its weight), and of weights."""

    reward: float
    weight: float


NONE = Tally(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Settings:
    prior_weight: float = 60.0
    shrinkage: float = 20.0
    levelled: bool = True


@dataclass(frozen=True, slots=True)
class Posterior:
    alpha: float
    beta: float
    prior: Score
    tally: Tally

    @property
    def mean(self) -> float:
        return self.alpha / (self.alpha + self.beta)

    @property
    def score(self) -> Score:
        """The prior itself until there is a rating that bears on it."""
        mean = clipped(self.mean)
        if abs(mean - self.prior.value) < 1e-9:
            return self.prior
        n = self.tally.weight
        return Score(mean, "feedback", f"{n:.3g} ratings; before: {self.prior.source}")


def posteriors(
    priors: Mapping[Key, Score], tallies: Mapping[Key, Tally], settings: Settings
) -> dict[Key, Posterior]:
    """One for every prior. Tallies of models that are no longer there bear on nothing."""
    levels = _levels(priors, tallies) if settings.levelled else {}
    level_of = {
        key: clipped(prior.value + levels.get(key[0], 0.0)) for key, prior in priors.items()
    }
    moves = _moves(level_of, tallies, settings)
    return {
        key: _posterior(prior, level_of[key] + moves[key[1]], tallies.get(key, NONE), settings)
        for key, prior in priors.items()
    }


def _posterior(prior: Score, expected: float, tally: Tally, settings: Settings) -> Posterior:
    weight = weight_of(prior, settings)
    ups = weight * min(_SURE, max(1 - _SURE, expected))
    return Posterior(
        alpha=ups + tally.reward,
        beta=weight - ups + tally.weight - tally.reward,
        prior=prior,
        tally=tally,
    )


def weight_of(prior: Score, settings: Settings) -> float:
    if prior.basis == "unknown":
        return min(_UNKNOWN_WEIGHT, settings.prior_weight)
    return settings.prior_weight * (_GUESS_SHARE if prior.basis == "prior" else 1.0)


def _levels(priors: Mapping[Key, Score], tallies: Mapping[Key, Tally]) -> dict[str, float]:
    """By task, how far its ratings lie from the priors in common."""
    sums: dict[str, tuple[float, float]] = {}
    for (task, model), tally in tallies.items():
        prior = priors.get((task, model))
        if prior is None or not tally.weight:
            continue
        believed = tally.weight / (tally.weight + _HALF_BELIEVED)
        distance = tally.reward / tally.weight - prior.value
        above, below = sums.get(task, (0.0, _LEVEL_DOUBT))
        sums[task] = above + believed * distance, below + believed
    return {task: above / below for task, (above, below) in sums.items()}


def _moves(
    expected: Mapping[Key, float], tallies: Mapping[Key, Tally], settings: Settings
) -> dict[str, float]:
    """By model, how far its ratings lie from what was expected of it, over all tasks."""
    sums = dict.fromkeys((model for _, model in expected), (0.0, settings.shrinkage))
    for key, tally in tallies.items():
        if key not in expected:
            continue
        above, below = sums[key[1]]
        sums[key[1]] = above + tally.reward - tally.weight * expected[key], below + tally.weight
    return {model: above / below for model, (above, below) in sums.items()}
