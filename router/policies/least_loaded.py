"""The replica with the fewest requests in flight; among equals the one that served the fewest."""

from __future__ import annotations

from collections.abc import Sequence

from router.policies.base import L


class LeastLoaded:
    def pick(self, replicas: Sequence[L]) -> L:
        return min(replicas, key=lambda replica: (replica.in_flight, replica.served))
