"""How loaded a replica is, and who among several is not too loaded to be preferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.policies.base import L, Load

# Prompt tokens that hold the others up about as much as one more request does: one step's worth,
# by vLLM's smallest default of max_num_batched_tokens. An estimate, not a measurement.
TOKENS_PER_REQUEST: Final = 2048
# How far above the mean a replica may be and still be preferred, as in consistent hashing with
# bounded loads. Held at each moment, it leaves the loads over time far more even than that, and
# 1.25 costs 2 to 5 % of the hits of prefix_aware (benchmarks/prefix_routing.py).
BOUND: Final = 1.5


def weight(n_requests: int, n_tokens: int) -> float:
    return n_requests + n_tokens / TOKENS_PER_REQUEST


def load_of(replica: Load) -> float:
    return weight(replica.in_flight, replica.tokens_in_flight)


def within_bound(replicas: Sequence[L], bound: float = BOUND) -> list[L]:
    """Those with at most max(1, bound x mean) requests; never empty, the least loaded is in."""
    mean = sum(replica.in_flight for replica in replicas) / len(replicas)
    most = max(1.0, bound * mean)
    return [replica for replica in replicas if replica.in_flight <= most]
