"""Trying other models: a small share of requests goes to one drawn from the posteriors."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from common.quality_config import MOST_EXPLORATION
from router.feedback.posterior import Posterior


class Explorer:
    """Thompson sampling on a share of requests; off at 0. Repeatable by its seed."""

    def __init__(self, share: float, seed: int | None = None) -> None:
        if not 0 <= share <= MOST_EXPLORATION:
            raise ValueError(f"explore is {share:g}; 0 to {MOST_EXPLORATION:g} is allowed")
        self._share = share
        self._random = Random(seed)  # noqa: S311  # no secret depends on it

    def pick(self, able: Mapping[str, Posterior]) -> str | None:
        """A model to try instead of the best one, or None to leave it at that."""
        if not able or not self._share or self._random.random() >= self._share:
            return None
        return draw(able, self._random)


def draw(posteriors: Mapping[str, Posterior], random: Random) -> str:
    """The model whose draw from its posterior is the greatest."""
    drawn = {model: random.betavariate(each.alpha, each.beta) for model, each in posteriors.items()}
    return max(drawn, key=lambda model: drawn[model])
