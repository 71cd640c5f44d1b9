"""The KV cache: bytes of a block, how many blocks a pool holds, and how many tokens that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placement.footprint import versions
from placement.footprint.defaults import Resolved, resolve
from placement.footprint.kinds import kinds
from placement.footprint.kv_groups import Group, group
from placement.footprint.kv_layers import entries
from placement.footprint.memo import Memo
from placement.footprint.settings import Device, Settings
from placement.models.facts import ModelFacts, StateSpace

_shapes: Memo[tuple[tuple[Group, ...], tuple[int, ...]]] = Memo()


@dataclass(frozen=True)
class Pool:
    """The shape of a replica's KV cache, however large it is.

    `block_bytes` is by pipeline rank; `request_blocks` is what one request of `max_model_len`
    tokens takes of the pool.
    """

    groups: tuple[Group, ...]
    block_bytes: tuple[int, ...]
    request_blocks: int
    max_model_len: int
    by_request: bool  # how the engine counts tokens

    @property
    def block_size(self) -> int:
        return min((each.block_size for each in self.groups), default=1)

    @property
    def request_bytes(self) -> tuple[int, ...]:
        """What each rank needs for one request, and for the block that is never given out."""
        return tuple((self.request_blocks + 1) * n_bytes for n_bytes in self.block_bytes)


@dataclass(frozen=True)
class Capacity:
    """As vLLM prints it. The smallest rank bounds all of them."""

    blocks: int
    tokens: int
    max_concurrency: float
    rank: int


def pool(facts: ModelFacts, settings: Settings, device: Device | None = None) -> Pool:
    resolved = resolve(facts, settings, device)
    groups, block_bytes = _shape(facts, settings, resolved)
    in_flight = resolved.max_num_batched_tokens * resolved.concurrent_batches
    return Pool(
        groups=groups,
        block_bytes=block_bytes,
        request_blocks=sum(g.blocks(resolved.max_model_len, in_flight) for g in groups),
        max_model_len=resolved.max_model_len,
        by_request=resolved.version >= versions.TOKENS_BY_REQUEST,
    )


def capacity(of: Pool, available_bytes: Sequence[int]) -> Capacity:
    """What a pool of these sizes holds, given for each pipeline rank."""
    by_rank = {
        rank: max(0, available_bytes[rank]) // per_block
        for rank, per_block in enumerate(of.block_bytes)
        if per_block
    }
    if not by_rank:  # without a cache nothing bounds the length
        return Capacity(1, of.max_model_len, 1.0, 0)
    rank = min(by_rank, key=by_rank.__getitem__)
    blocks = by_rank[rank]
    concurrency = blocks / of.request_blocks
    if of.by_request:
        tokens = int(concurrency * of.max_model_len)
    else:
        tokens = blocks // len(of.groups) * of.block_size
    return Capacity(blocks, tokens, concurrency, rank)


def needed_bytes(facts: ModelFacts, settings: Settings, device: Device | None = None) -> int:
    """KV cache bytes a GPU, of the rank that needs most, for one request of max_model_len."""
    return max(pool(facts, settings, device).request_bytes)


def pipeline_stages(n_layers: int, pp: int) -> tuple[range, ...]:
    """The layers of each pipeline rank: what is left over goes to the last but one and upwards."""
    sizes = [n_layers // pp] * pp
    for i in range(2, n_layers % pp + 2):
        sizes[-i] += 1
    ends = [sum(sizes[: i + 1]) for i in range(pp)]
    return tuple(range(end - size, end) for size, end in zip(sizes, ends, strict=True))


def _shape(
    facts: ModelFacts, settings: Settings, resolved: Resolved
) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """All of a pool that does not depend on lengths and batches."""
    hybrid = resolved.version >= versions.HYBRID_CACHE and resolved.v1

    def compute() -> tuple[tuple[Group, ...], tuple[int, ...]]:
        groups = group(list(entries(facts, settings, resolved)), hybrid=hybrid)
        stages = pipeline_stages(len(facts.layers), settings.pp)
        return groups, tuple(_block_bytes(groups, layers) for layers in stages)

    key = (
        settings.tp,
        settings.pp,
        resolved.dtype,
        resolved.kv_cache_dtype,
        resolved.block_size,
        resolved.prefix_caching,
        hybrid,
        resolved.max_model_len if _has_states(facts) else None,
    )
    return _shapes.get(facts, key, compute)


def _has_states(facts: ModelFacts) -> bool:
    return any(isinstance(layer.mixer, StateSpace) for layer in kinds(facts).layers)


def _block_bytes(groups: Sequence[Group], layers: range) -> int:
    return max((each.block_bytes(layers) for each in groups), default=0)
