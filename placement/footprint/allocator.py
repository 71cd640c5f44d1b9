"""What tensors take of a GPU once PyTorch's caching allocator has placed them.

It serves requests over 1 MiB from segments, which it splits, and loses a rest of up to 1 MiB
(c10/cuda/CUDACachingAllocator.cpp). Small ones are packed and only rounded to 512 bytes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

_ROUND = 512
_SMALL = 2**20  # up to here the small pool serves
_SEGMENT = 20 * 2**20  # of a request under _LARGE
_LARGE = 10 * 2**20
_LARGE_ROUND = 2 * 2**20


def allocated_bytes(sizes: Iterable[int], *, max_split: int | None = None) -> int:
    """Bytes held for tensors that are made in this order and all kept.

    `max_split`: blocks of this size and more are never split (max_split_size_mb).
    """
    free: list[int] = []
    return sum(_take(_rounded(size), free, max_split) for size in sizes if size > 0)


def _rounded(size: int) -> int:
    return -(-size // _ROUND) * _ROUND


def _take(size: int, free: list[int], max_split: int | None) -> int:
    if size <= _SMALL:
        return size
    block = _fitting(size, free, max_split)
    rest = block - size
    if rest <= _SMALL or (max_split is not None and size >= max_split):
        return block
    insort(free, rest)
    return size


def _fitting(size: int, free: list[int], max_split: int | None) -> int:
    """The smallest free block that fits, else a new segment."""
    at = bisect_left(free, size)
    if at < len(free) and not _barred(size, free[at], max_split):
        return free.pop(at)
    if size < _LARGE:
        return _SEGMENT
    return -(-size // _LARGE_ROUND) * _LARGE_ROUND


def _barred(size: int, block: int, max_split: int | None) -> bool:
    """With a limit on splitting, big blocks serve only big requests that nearly fill them."""
    if max_split is None:
        return False
    if size < max_split:
        return block >= max_split
    return block >= size + _SEGMENT
