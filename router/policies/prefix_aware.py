"""The replica that has the longest part of the prompt in its cache, unless it is too loaded.

Two bounds keep the load even. Requests in flight, as in consistent hashing with bounded loads,
hold for every request. Requests given lately hold only for new conversations: one that goes on
stays where its cache is, while many that share a system prompt would else all follow the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.call import NO_CALL, Call
from router.matches import Matches
from router.policies.base import L, Policy
from router.policies.load import BOUND, load_of, weight, within_bound
from router.prefixes import DEFAULT_BLOCKS, CacheModel

# A shorter match, as a share of the prompt, is not worth a queue.
LEAST_MATCH: Final = 0.25
# Requests given lately, about so many for each replica, and how far above the mean they may be.
LATELY_BOUND: Final = 1.1
_LATELY_REQUESTS: Final = 32


class PrefixAware(Policy):
    matches: Matches

    def __init__(
        self,
        bound: float = BOUND,
        least_match: float = LEAST_MATCH,
        lately_bound: float = LATELY_BOUND,
        default_blocks: int = DEFAULT_BLOCKS,
    ) -> None:
        self._bound = bound
        self._least_match = least_match
        self._lately_bound = lately_bound
        self._default_blocks = default_blocks
        self._caches: dict[str, CacheModel] = {}
        self.matches = Matches()
        self._lately: dict[str, float] = {}

    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        within = within_bound(replicas, self._bound)
        chosen = self._preferred(within, call.blocks) or self._least_loaded(within)
        self._took(chosen.id, len(replicas), call)
        return chosen

    def forget(self, replica_id: str) -> None:
        self._cache(replica_id).forget()

    def provision(self, replica_id: str, kv_tokens: int) -> None:
        self._cache(replica_id).provision(kv_tokens)

    def observe(self, replica_id: str, hit_ratio: float) -> None:
        self._cache(replica_id).observe(hit_ratio)

    def matched(self, replica_id: str, call: Call) -> int:
        """How many of the call's blocks the replica is believed to have."""
        return self._cache(replica_id).tree.match(call.blocks)

    def _preferred(self, within: Sequence[L], blocks: tuple[int, ...]) -> L | None:
        """Who has most of the prompt; None when nobody has enough of it."""
        longest, holders = self._longest(within, blocks)
        if longest and not self._continues(holders, blocks[longest - 1]):
            longest, holders = self._longest(self._calm(within), blocks)
        return self._least_loaded(holders) if longest else None

    def _longest(self, within: Sequence[L], blocks: tuple[int, ...]) -> tuple[int, list[L]]:
        matches = [self._cache(replica.id).tree.match(blocks) for replica in within]
        longest = max(matches)
        if longest < self._least_match * len(blocks):
            return 0, []
        return longest, [r for r, match in zip(within, matches, strict=True) if match == longest]

    def _continues(self, holders: Sequence[L], last: int) -> bool:
        return any(self._cache(holder.id).tree.is_end(last) for holder in holders)

    def _calm(self, within: Sequence[L]) -> list[L]:
        """Those that were not given more than their share lately; never empty."""
        given = [self._lately.get(replica.id, 0.0) for replica in within]
        most = self._lately_bound * sum(given) / len(given) + 1.0
        return [r for r, lately in zip(within, given, strict=True) if lately <= most]

    def _least_loaded(self, replicas: Sequence[L]) -> L:
        return min(replicas, key=lambda r: (load_of(r), self._lately.get(r.id, 0.0), r.served))

    def _took(self, replica_id: str, n_replicas: int, call: Call) -> None:
        kept = 1 - 1 / (_LATELY_REQUESTS * n_replicas)
        for known in self._lately:
            self._lately[known] *= kept
        given = self._lately.get(replica_id, 0.0)
        self._lately[replica_id] = given + weight(1, call.n_tokens)
        matched = self._cache(replica_id).took(call.blocks)
        if call.blocks:
            self.matches.add(matched, len(call.blocks))

    def _cache(self, replica_id: str) -> CacheModel:
        cache = self._caches.get(replica_id)
        if cache is None:
            cache = self._caches[replica_id] = CacheModel(self._default_blocks)
        return cache
