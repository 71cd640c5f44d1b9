"""Each replica in turn, by id, whatever its load."""

from __future__ import annotations

from collections.abc import Sequence

from router.call import NO_CALL, Call
from router.policies.base import L, Policy


class RoundRobin(Policy):
    def __init__(self) -> None:
        self._last = ""

    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        in_order = sorted(replicas, key=lambda replica: replica.id)
        chosen = next((r for r in in_order if r.id > self._last), in_order[0])
        self._last = chosen.id
        return chosen
