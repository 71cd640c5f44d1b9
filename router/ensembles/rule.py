"""When a panel is over. Counts in answers: a call of three samples is three."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from common.ensemble_section import EnsembleSection


class Verdict(Enum):
    WAIT = "wait"
    ENOUGH = "enough"
    HOPELESS = "hopeless"


@dataclass(frozen=True, slots=True)
class Rule:
    quorum: int = 1
    first: int | None = None  # so many are enough; None: all
    fail_fast: bool = False

    @classmethod
    def of(cls, spec: EnsembleSection) -> Rule:
        return cls(spec.quorum, spec.first, spec.on_error == "fail")


@dataclass(frozen=True, slots=True)
class Standing:
    answered: int
    failed: int
    pending: int


def verdict(rule: Rule, standing: Standing, *, past_soft: bool) -> Verdict:
    if rule.fail_fast and standing.failed:
        return Verdict.HOPELESS
    if standing.answered + standing.pending < rule.quorum:
        return Verdict.HOPELESS
    if standing.answered < rule.quorum:
        return Verdict.WAIT
    is_over = past_soft or not standing.pending
    enough = rule.first is not None and standing.answered >= rule.first
    return Verdict.ENOUGH if is_over or enough else Verdict.WAIT
