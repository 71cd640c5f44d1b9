"""The states of a model's life, and the one table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ModelState(StrEnum):
    ABSENT = "absent"  # its files are not on this disk
    PULLING = "pulling"
    COLD = "cold"  # on disk, no process
    LOADING = "loading"  # starting, or waking up
    READY = "ready"
    DRAINING = "draining"  # takes no new requests; goes to COLD or SLEEPING
    SLEEPING = "sleeping"  # its process lives, most of its memory is given back
    FAILED = "failed"  # the last pull, load, wake or unload did not work


_S = ModelState
TRANSITIONS: Final[Mapping[ModelState, frozenset[ModelState]]] = {
    _S.ABSENT: frozenset({_S.PULLING, _S.COLD}),
    _S.PULLING: frozenset({_S.COLD, _S.ABSENT, _S.FAILED}),
    _S.COLD: frozenset({_S.LOADING, _S.PULLING, _S.ABSENT}),
    _S.LOADING: frozenset({_S.READY, _S.FAILED}),
    _S.READY: frozenset({_S.DRAINING, _S.FAILED}),
    _S.DRAINING: frozenset({_S.COLD, _S.SLEEPING, _S.FAILED}),
    _S.SLEEPING: frozenset({_S.LOADING, _S.DRAINING, _S.FAILED}),
    # DRAINING: what is left of it is unloaded once more.
    _S.FAILED: frozenset({_S.LOADING, _S.DRAINING, _S.PULLING, _S.COLD, _S.ABSENT}),
}


class IllegalTransitionError(RuntimeError):
    """A fault of the manager's own, never of a request."""

    def __init__(self, model: str, before: ModelState, after: ModelState) -> None:
        allowed = ", ".join(sorted(TRANSITIONS[before]))
        super().__init__(f"{model} cannot go from {before} to {after}; from {before}: {allowed}")


def check(model: str, before: ModelState, after: ModelState) -> None:
    """Raises IllegalTransitionError."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransitionError(model, before, after)
