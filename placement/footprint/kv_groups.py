"""How vLLM shares one pool of KV blocks among layers of several kinds. Pure arithmetic.

Layers of a kind are split into groups of equal size; a block of the pool holds one page of every
layer of one group. Follows vLLM 0.32's v1/core/kv_cache_utils.py, which the tests compare it to.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Kind = Literal["full", "latent", "sliding", "chunked", "state"]


@dataclass(frozen=True)
class LayerCache:
    """One layer's cache. `shape` is all that two layers must have in common to share a group.

    `reach` is the window or the chunk in tokens; for "state" the blocks that a request holds.
    """

    kind: Kind
    block_size: int
    page_bytes: int
    shape: Hashable = None
    reach: int = 0

    def blocks(self, max_model_len: int, in_flight_tokens: int) -> int:
        """Blocks that one request of the full length holds at most."""
        if self.kind == "state":
            return self.reach
        if self.kind == "sliding":
            tokens = min(self.reach - 1 + in_flight_tokens, max_model_len)
            return ceil_div(tokens, self.block_size) + 1  # the window may start within a block
        if self.kind == "chunked":
            tokens = min(self.reach + in_flight_tokens, max_model_len)
            return ceil_div(tokens, self.block_size)
        return ceil_div(max_model_len, self.block_size)

    @property
    def base(self) -> Hashable:
        """Layers of one base and block size always need the same number of blocks."""
        if self.kind in {"full", "latent"}:
            return "full"
        return (self.kind, self.reach, self.page_bytes if self.kind == "state" else 0)


@dataclass(frozen=True)
class Group:
    """Layers that share one block table. `pages` are bytes by the number of the layer."""

    caches: tuple[LayerCache, ...]  # without repetition
    pages: Mapping[int, int]

    @property
    def block_size(self) -> int:
        return self.caches[0].block_size

    def blocks(self, max_model_len: int, in_flight_tokens: int) -> int:
        return max(cache.blocks(max_model_len, in_flight_tokens) for cache in self.caches)

    def block_bytes(self, layers: range) -> int:
        """Bytes of a block on the pipeline rank that has these layers."""
        return sum(self.pages.get(layer, 0) for layer in layers)


class Entry(NamedTuple):
    """A cache and the layer that it belongs to; a layer may have two (an indexer beside MLA)."""

    layer: int
    cache: LayerCache


def group(entries: Sequence[Entry], *, hybrid: bool = True) -> tuple[Group, ...]:
    """`hybrid` False: an engine that keeps windows and chunks in full wherever others are full."""
    if not hybrid:
        entries = _promoted(entries)
    if not entries:
        return ()
    if _is_uniform(entries):
        return (_as_group(entries),)
    try:
        unified = _with_one_page_size(entries)
    except _NotDivisibleError:
        return (_as_group(_promoted(entries)),)
    return tuple(_as_group(part) for part in _split(unified))


def ceil_div(amount: int, size: int) -> int:
    return -(-amount // size)


class _NotDivisibleError(Exception):
    """The page of a latent cache neither divides the largest nor may be padded to it."""


def _distinct(entries: Sequence[Entry]) -> tuple[LayerCache, ...]:
    """By identity first, since most layers share one object."""
    return tuple(dict.fromkeys({id(entry.cache): entry.cache for entry in entries}.values()))


def _replaced(entries: Sequence[Entry], change: Callable[[LayerCache], LayerCache]) -> list[Entry]:
    new = {id(entry.cache): entry.cache for entry in entries}
    new = {number: change(cache) for number, cache in new.items()}
    return [Entry(entry.layer, new[id(entry.cache)]) for entry in entries]


def _is_uniform(entries: Sequence[Entry]) -> bool:
    return len({(cache.base, cache.block_size) for cache in _distinct(entries)}) == 1


def _promoted(entries: Sequence[Entry]) -> list[Entry]:
    caches = _distinct(entries)
    full_sizes = {cache.block_size for cache in caches if cache.kind in {"full", "latent"}}
    if not full_sizes or _is_uniform(entries):
        return list(entries)
    common = full_sizes.pop() if len(full_sizes) == 1 else None
    return _replaced(entries, lambda cache: _as_full(cache, common))


def _as_full(cache: LayerCache, block_size: int | None) -> LayerCache:
    if cache.kind not in {"sliding", "chunked"}:
        return cache
    size = block_size or cache.block_size
    page_bytes = cache.page_bytes * size // cache.block_size
    return replace(cache, kind="full", block_size=size, page_bytes=page_bytes, reach=0)


def _with_one_page_size(entries: Sequence[Entry]) -> list[Entry]:
    largest = max(cache.page_bytes for cache in _distinct(entries))
    return _replaced(entries, lambda cache: _with_page(cache, largest))


def _with_page(cache: LayerCache, page_bytes: int) -> LayerCache:
    """Longer blocks where that fills the page, else padding."""
    if cache.page_bytes == page_bytes:
        return cache
    if cache.kind != "state" and page_bytes % cache.page_bytes == 0:
        longer = cache.block_size * (page_bytes // cache.page_bytes)
        return replace(cache, block_size=longer, page_bytes=page_bytes)
    if cache.kind == "latent":
        raise _NotDivisibleError
    return replace(cache, page_bytes=page_bytes, shape=(cache.shape, "padded"))


def _split(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Groups of equal size: the smallest kind's, or the largest's if that wastes little."""
    by_object: dict[int, list[Entry]] = {}
    for entry in entries:
        by_object.setdefault(id(entry.cache), []).append(entry)
    kinds: dict[LayerCache, list[Entry]] = {}
    for same in by_object.values():
        kinds.setdefault(same[0].cache, []).extend(same)
    for same in kinds.values():
        same.sort(key=lambda entry: entry.layer)
    counts = [len(same) for same in kinds.values()]
    size = max(counts) if max(counts) < min(counts) * 1.5 else min(counts)
    parts = []
    for same in kinds.values():
        n_groups = ceil_div(len(same), size)
        parts += [same[i::n_groups] for i in range(n_groups)]
    return parts


def _as_group(entries: Sequence[Entry]) -> Group:
    pages: dict[int, int] = {}
    for entry in entries:
        pages[entry.layer] = pages.get(entry.layer, 0) + entry.cache.page_bytes
    return Group(_distinct(entries), pages)
