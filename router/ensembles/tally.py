"""Counting votes: who leads, by how much, and whether that can still change. No I/O.

A sum of weights is compared as it is; ties go to the ballot of the best member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, log

# Wrong answers scatter: over the other options of a choice, or over many numbers. So even a member
# that is wrong more often than not speaks for its answer. Assumed, not measured.
WRONG_OPTIONS, WRONG_NUMBERS = 3, 9
_SURE = 0.99  # no record counts as more, and none as less than 1 - _SURE
_LEAST_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class Ballot:
    """One vote. `rank`: of its member, 0 the best. Without an answer it abstains."""

    answer: str | None
    weight: float = 1.0
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """`groups`: answers with the sum of their weights, the winner first. `winner`: its ballot's
    place; None when nobody has voted."""

    groups: tuple[tuple[str, float], ...]
    winner: int | None
    share: float  # the winner's, of the weight of all ballots, abstentions included


def count(ballots: Sequence[Ballot]) -> Tally:
    by_answer: dict[str, list[int]] = {}
    for i, ballot in enumerate(ballots):
        if ballot.answer is not None:
            by_answer.setdefault(ballot.answer, []).append(i)
    sums = {a: fsum(ballots[i].weight for i in places) for a, places in by_answer.items()}
    best = {a: min(places, key=lambda i: (ballots[i].rank, i)) for a, places in by_answer.items()}
    order = sorted(sums, key=lambda a: (-sums[a], ballots[best[a]].rank, best[a]))
    if not order:
        return Tally((), None, 0.0)
    total = fsum(ballot.weight for ballot in ballots)
    leader = order[0]
    share = sums[leader] / total if total else 0.0
    return Tally(tuple((a, sums[a]) for a in order), best[leader], share)


def is_settled(ballots: Sequence[Ballot], outstanding: Sequence[float]) -> bool:
    """Can no answers that may still come, of these weights, change the winner?

    A tie would be decided by rank, so the lead must be more than what is out.
    """
    groups = count(ballots).groups
    if not groups:
        return not outstanding
    second = groups[1][1] if len(groups) > 1 else 0.0
    return not outstanding or groups[0][1] > fsum((second, *outstanding))


def fewest_to_settle(ballots: Sequence[Ballot], left: int) -> int:
    """Of `left` equal votes to come, how many would settle it if all were for the leader."""
    sums = [weight for _, weight in count(ballots).groups]
    leader, second = (*sums, 0.0, 0.0)[:2]
    return max(1, min(left, int((left + second - leader) // 2) + 1))


def weights_of(records: Sequence[float | None], wrong_answers: int) -> tuple[float, ...]:
    """By member: the log-odds of being right against giving one certain wrong answer.

    A member without a record counts as their mean; when none has one, all count the same.
    """
    known = [record for record in records if record is not None]
    if not known:
        return (1.0,) * len(records)
    mean = fsum(known) / len(known)
    return tuple(_weight(mean if r is None else r, wrong_answers) for r in records)


def ranks_of(records: Sequence[float | None]) -> tuple[int, ...]:
    """0 for the best record; equal and unknown ones in the given order."""
    order = sorted(range(len(records)), key=lambda i: -(records[i] or 0.0))
    ranks = [0] * len(records)
    for rank, i in enumerate(order):
        ranks[i] = rank
    return tuple(ranks)


def agreed(answers: Sequence[str | None], planned: int) -> bool:
    """All that were planned are there, say something, and say the same."""
    return len(answers) == planned and None not in answers and len(set(answers)) == 1


def _weight(record: float, wrong_answers: int) -> float:
    p = min(_SURE, max(1 - _SURE, record))
    return max(_LEAST_WEIGHT, log(p / (1 - p)) + log(wrong_answers))
