"""The replica with the least in flight, tokens weighed in; then the one that served the fewest."""

from __future__ import annotations

from collections.abc import Sequence

from router.call import NO_CALL, Call
from router.policies.base import L, Policy
from router.policies.load import load_of


class LeastLoaded(Policy):
    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        return min(replicas, key=lambda replica: (load_of(replica), replica.served))
