"""The less loaded of two replicas drawn at random: nearly as even as looking at all of them.

It also spreads requests where several routers look at the same replicas and know only their own
requests, which makes all of them send to the same least loaded one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from router.call import NO_CALL, Call
from router.policies.base import L, Policy
from router.policies.load import load_of


class PowerOfTwo(Policy):
    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311  # nobody is to be kept from guessing

    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        drawn = self._random.sample(replicas, min(2, len(replicas)))
        return min(drawn, key=load_of)
