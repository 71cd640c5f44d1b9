"""What each layer keeps in the KV cache: bytes of a page, by vLLM's own rules for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from placement.footprint.defaults import Resolved, itemsize
from placement.footprint.kinds import kinds
from placement.footprint.kv_groups import Entry, LayerCache, ceil_div
from placement.footprint.settings import Settings
from placement.models.facts import (
    Attention,
    LatentAttention,
    Mixer,
    ModelFacts,
    State,
    StateSpace,
)

_INDEXER_SCALE_TOKENS = 128  # one float32 scale for so many values of the indexer's cache
_LATENT_BYTES = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}  # packed with their scales
_LATENT_KERNEL_TOKENS = 128  # hybrids of MLA and state: blocks are multiples of this
_ALIGNED_STATES = 2  # with prefix caching: the state in use and the last one worth keeping


def entries(facts: ModelFacts, settings: Settings, resolved: Resolved) -> Iterator[Entry]:
    """Layers of one kind share their objects."""
    aligned = _aligned(facts, settings, resolved)
    found = kinds(facts)
    caches = [tuple(_caches(layer.mixer, settings, resolved, aligned)) for layer in found.layers]
    for number, kind in enumerate(found.of):
        for cache in caches[kind]:
            yield Entry(number, cache)


def _caches(
    mixer: Mixer | None, settings: Settings, resolved: Resolved, aligned: tuple[int, int]
) -> Iterator[LayerCache]:
    block_size, state_bytes = aligned
    match mixer:
        case Attention(shares_cache=False):
            yield _attention(mixer, settings, resolved, block_size)
        case LatentAttention():
            yield _latent(mixer, resolved, block_size)
            if mixer.index_heads:
                yield _indexer(mixer, block_size)
        case StateSpace():
            page_bytes = max(_state_bytes(mixer, settings, resolved), state_bytes)
            yield _state(mixer, page_bytes, resolved)


def _attention(
    mixer: Attention, settings: Settings, resolved: Resolved, block_size: int
) -> LayerCache:
    shape = (max(1, mixer.n_kv_heads // settings.tp), mixer.head_dim, mixer.v_head_dim)
    page_bytes = block_size * _token_bytes(mixer, settings, resolved)
    if mixer.window is not None:
        return LayerCache("sliding", block_size, page_bytes, shape, mixer.window)
    if mixer.chunk is not None:
        return LayerCache("chunked", block_size, page_bytes, shape, mixer.chunk)
    return LayerCache("full", block_size, page_bytes, shape)


def _latent(mixer: LatentAttention, resolved: Resolved, block_size: int) -> LayerCache:
    return LayerCache("latent", block_size, block_size * _latent_bytes(mixer, resolved), "latent")


def _indexer(mixer: LatentAttention, block_size: int) -> LayerCache:
    scales = 4 * (mixer.index_head_dim // _INDEXER_SCALE_TOKENS)
    page_bytes = block_size * (mixer.index_head_dim + scales)
    return LayerCache("latent", block_size, page_bytes, "indexer")


def _state(mixer: StateSpace, page_bytes: int, resolved: Resolved) -> LayerCache:
    blocks = _ALIGNED_STATES if resolved.prefix_caching else 1
    return LayerCache("state", resolved.max_model_len, page_bytes, mixer.states, blocks)


def _aligned(facts: ModelFacts, settings: Settings, resolved: Resolved) -> tuple[int, int]:
    """Tokens a block and bytes of a state's page: beside states, blocks of attention grow until
    their page holds the largest state, and all states are padded to that page."""
    mixers = [layer.mixer for layer in kinds(facts).layers]
    states = [_state_bytes(m, settings, resolved) for m in mixers if isinstance(m, StateSpace)]
    tokens = [n for m in mixers if (n := _mixer_token_bytes(m, settings, resolved))]
    if not states or not tokens:
        return resolved.block_size, 0
    latent = any(isinstance(mixer, LatentAttention) for mixer in mixers)
    unit = max(resolved.block_size, _LATENT_KERNEL_TOKENS if latent else 0)
    block_size = max(resolved.block_size, unit * ceil_div(max(states), unit * tokens[0]))
    return block_size, block_size * tokens[0]


def _mixer_token_bytes(mixer: object, settings: Settings, resolved: Resolved) -> int:
    if isinstance(mixer, Attention):
        return _token_bytes(mixer, settings, resolved)
    return _latent_bytes(mixer, resolved) if isinstance(mixer, LatentAttention) else 0


def _token_bytes(mixer: Attention, settings: Settings, resolved: Resolved) -> int:
    """Ranks beyond the number of KV heads hold copies."""
    heads = max(1, mixer.n_kv_heads // settings.tp)
    return heads * (
        _vector_bytes(mixer.head_dim, resolved) + _vector_bytes(mixer.v_head_dim, resolved)
    )


def _vector_bytes(size: int, resolved: Resolved) -> int:
    dtype = resolved.kv_cache_dtype
    if dtype.startswith("nvfp4"):
        return size // 2 + size // 16  # two values a byte, and a scale for sixteen
    if dtype.startswith(("fp8", "int8")):
        return size
    return size * itemsize(resolved.dtype if dtype == "auto" else dtype)


def _latent_bytes(mixer: LatentAttention, resolved: Resolved) -> int:
    """One vector a token, the same on every tensor parallel rank."""
    dtype = resolved.kv_cache_dtype
    if mixer.index_heads and dtype.startswith("fp8"):
        dtype = "fp8_ds_mla"  # what the sparse kernels read
    return _LATENT_BYTES.get(dtype) or _vector_bytes(
        mixer.kv_lora_rank + mixer.qk_rope_head_dim, resolved
    )


def _state_bytes(mixer: StateSpace, settings: Settings, resolved: Resolved) -> int:
    return sum(_tensor_bytes(state, settings, resolved) for state in mixer.states)


def _tensor_bytes(state: State, settings: Settings, resolved: Resolved) -> int:
    n_bytes = prod(state.shape) * (state.itemsize or itemsize(resolved.dtype))
    return n_bytes // min(settings.tp, state.shape[state.split_axis])
