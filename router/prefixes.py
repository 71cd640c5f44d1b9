"""What the router believes that a replica's prefix cache holds.

Blocks are named by hashes that include all before them, so that a set of them is a tree: a block
is only ever there with all its predecessors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from router.call import TOKENS_PER_BLOCK

# Where an engine's own size is not known: 128k tokens.
DEFAULT_BLOCKS: Final = 131_072 // TOKENS_PER_BLOCK
_MOST_GROWTH: Final = 8
# A hit ratio over fewer blocks than this says little.
_LEAST_ASKED: Final = 64
_TOLERANCE: Final = 0.1
# Blocks of each prompt that the engine may count otherwise: the chat template, what fills no whole
# block, and the last of the engine's own blocks (128 tokens on CPUs), which it computes anew.
_UNSEEN: Final = 2


class PrefixTree:
    """Blocks that were seen, at most `capacity` of them; the ends of the oldest go first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # Oldest first, and every block after those that follow it. True: the end of one prompt,
        # which no other has come by.
        self._ends: OrderedDict[int, bool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def match(self, blocks: Sequence[int]) -> int:
        """How many blocks from the start are there."""
        known, low, high = self._ends, 0, len(blocks)
        if not high or blocks[0] not in known:
            return 0
        while low < high:  # a block is there only if those before it are
            middle = (low + high) // 2
            if blocks[middle] in known:
                low = middle + 1
            else:
                high = middle
        return low

    def is_end(self, block: int) -> bool:
        """One prompt ended there, and no other came by: who does now continues that one."""
        return self._ends.get(block, False)

    def insert(self, blocks: Sequence[int]) -> None:
        known, is_end = self._ends, True
        for block in reversed(blocks[: self.capacity]):
            known[block] = is_end and block not in known
            known.move_to_end(block)
            is_end = False
        self._evict()

    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self._evict()

    def clear(self) -> None:
        self._ends.clear()

    def _evict(self) -> None:
        while len(self._ends) > self.capacity:
            self._ends.popitem(last=False)


class CacheModel:
    """One replica's tree, and its size as the engine's own counters correct it."""

    def __init__(self, capacity: int = DEFAULT_BLOCKS) -> None:
        self.tree = PrefixTree(capacity)
        self._most = capacity * _MOST_GROWTH
        self._told: int | None = None
        self._prompts = self._asked = self._matched = 0

    def provision(self, kv_tokens: int) -> None:
        """The engine has told how many tokens its cache holds, or 0; it never holds more."""
        if kv_tokens != self._told:  # told once more, it leaves what `observe` has learned
            self._told = kv_tokens
            self._most = kv_tokens // TOKENS_PER_BLOCK
            self.tree.resize(self._most)
            self._start_anew()

    def took(self, blocks: Sequence[int]) -> int:
        """The replica has been given a prompt; returns how many blocks it should have of it."""
        matched = self.tree.match(blocks)
        self._prompts += 1
        self._asked += len(blocks)
        self._matched += matched
        self.tree.insert(blocks)
        return matched

    def observe(self, hit_ratio: float) -> None:
        """What share the engine found since the last time; too little said is kept for later."""
        if self._asked < _LEAST_ASKED:
            return
        least, expected = self._expected()
        self._start_anew()
        if hit_ratio < least - _TOLERANCE:  # then it keeps less than is believed
            shrunk = self.tree.capacity * max(0.5, hit_ratio / least)
            self.tree.resize(max(1, int(shrunk)))
        elif hit_ratio > expected + _TOLERANCE:
            grown = self.tree.capacity + max(1, self.tree.capacity // 4)
            self.tree.resize(min(self._most, grown))

    def forget(self) -> None:
        self.tree.clear()
        self._start_anew()

    def _expected(self) -> tuple[float, float]:
        """The share that the engine should find, with what is unseen of each prompt and without."""
        unseen = _UNSEEN * self._prompts
        least = max(0, self._matched - unseen) / (self._asked + unseen)
        return least, self._matched / self._asked

    def _start_anew(self) -> None:
        self._prompts = self._asked = self._matched = 0
