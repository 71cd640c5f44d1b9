"""What is known of an ensemble's members: how often they are right, who shares a GPU, and how much
each can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.quality_config import Task
from router.catalog.profile import Profile
from router.ensembles.ask import Member
from router.feedback.learning import Learning
from router.replicas import Lane

# A guess by size is no record, and nothing at all is none either.
_NO_RECORD = frozenset({"prior", "unknown"})


def roster_of(
    lanes: Mapping[str, Lane],
    profiles: Mapping[str, Profile],
    task: Task,
    learning: Learning | None = None,
) -> dict[str, Member]:
    """By the name that the ensemble uses. `lanes` by that name, `profiles` by the model's own."""
    turns = turns_of(lanes.values())
    return {
        name: Member(
            name,
            record_of(profiles[lane.model], task, learning),
            turns.get(lane.model),
            lane.context_len,
        )
        for name, lane in lanes.items()
    }


def record_of(known: Profile, task: Task, learning: Learning | None) -> float | None:
    """The share of questions of the task that it is taken to get right; None for a guess."""
    learned = learning.quality(known.model) if learning else {}
    score = learned.get(task) or known.quality[task]
    return None if score.basis in _NO_RECORD else score.value


def turns_of(lanes: Iterable[Lane]) -> dict[str, str]:
    """By model: a name for the GPUs that it shares with another one of these.

    Two engines on one GPU take as long together as one after the other, and one after the other the
    first answer is there sooner. A model with replicas elsewhere need not wait.
    """
    gpus = {lane.model: _single_place(lane) for lane in lanes}
    shared = {
        model: sorted(m for m, others in gpus.items() if mine & others)
        for model, mine in gpus.items()
        if mine
    }
    return {model: f"gpu of {among[0]}" for model, among in shared.items() if len(among) > 1}


def _single_place(lane: Lane) -> frozenset[str]:
    places = {frozenset(replica.gpu_ids) for replica in lane.replicas}
    return next(iter(places)) if len(places) == 1 else frozenset()
