"""A session stays with its replica: consistent hashing, with bounded load.

Rendezvous hashing: each session ranks the replicas in an order of its own, and gets the first that
is not too loaded. When a replica goes only its sessions move, and one that comes takes its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from router.call import NO_CALL, Call
from router.policies.base import L, Policy
from router.policies.least_loaded import LeastLoaded
from router.policies.load import BOUND, within_bound


class Session(Policy):
    def __init__(self, bound: float = BOUND) -> None:
        self._bound = bound
        self._without_session = LeastLoaded()

    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        session = call.session
        if session is None:
            return self._without_session.pick(replicas, call)
        within = within_bound(replicas, self._bound)
        return max(within, key=lambda replica: _rank(session, replica.id))


def _rank(session: str, replica_id: str) -> bytes:
    named = f"{replica_id}\0{session}".encode("utf-8", "surrogatepass")
    return blake2b(named, digest_size=8).digest()
