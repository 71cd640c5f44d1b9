"""Whether a failed request is tried again with the same model, on whom, and after what pause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import EngineDisconnectError, EngineOverloadedError, RoundhouseError
from common.routing_config import RetryConfig
from router.replicas import Lane, Replica

# Those who leave a replica that is gone add nothing to its load, so no budget holds them back.
_FREE = frozenset({"connection", "engine_dead"})


@dataclass(frozen=True)
class Again:
    """One more attempt: not on `exclude`, and `pause_s` from now."""

    exclude: Sequence[Replica]
    pause_s: float = 0.0


def again(
    config: RetryConfig,
    failure: RoundhouseError,
    tried: Sequence[Replica],
    lane: Lane,
    *,
    asked_pause_s: float | None = None,
    has_stand_in: bool = False,
    roll: float = 1.0,
) -> Again | None:
    """None when nothing is left to try here. `roll` is random, from 0 to 1.

    Other replicas in good health come first, at once; then the same one, where that may help;
    then those whose breakers are open, unless another model can stand in.
    """
    if len(tried) > config.max or failure.trigger not in config.on:
        return None
    if failure.trigger == "context_too_long":  # the others have the same
        return None
    if lane.can_serve(exclude=tried):
        return Again(tried)
    last = tried[-1]
    pause_s = _pause_s(config, failure, tried.count(last), asked_pause_s, roll)
    others = [replica for replica in tried if replica is not last]
    if pause_s is not None and lane.has_ready(exclude=others):
        return Again(others, pause_s)
    return Again(tried) if lane.has_ready(exclude=tried) and not has_stand_in else None


def is_budgeted(failure: RoundhouseError) -> bool:
    return failure.trigger not in _FREE


def backoff_s(config: RetryConfig, attempts: int, roll: float) -> float:
    """Doubles with each attempt; the jitter is half of it, so that crowds spread out."""
    whole: float = min(config.backoff_s * 2 ** (attempts - 1), config.backoff_max_s)
    return whole * (0.5 + 0.5 * roll)


def _pause_s(
    config: RetryConfig,
    failure: RoundhouseError,
    attempts: int,
    asked_pause_s: float | None,
    roll: float,
) -> float | None:
    """Before the same replica is asked again; None where that would not help.

    A kept-alive connection may just have been closed by its other end. A busy engine may have said
    when to come back.
    """
    pause_s = backoff_s(config, attempts, roll)
    if isinstance(failure, EngineDisconnectError) and attempts == 1:
        return pause_s
    if not isinstance(failure, EngineOverloadedError) or asked_pause_s is None:
        return None
    return asked_pause_s + pause_s if asked_pause_s <= config.backoff_max_s else None
