"""The KV cache's arithmetic against vLLM's own, over many made-up models."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.footprint import kv
from placement.footprint.defaults import resolve
from placement.footprint.settings import Device, Settings
from placement.models.facts import (
    Attention,
    Dense,
    LatentAttention,
    Layer,
    Mixer,
    ModelFacts,
    State,
    StateSpace,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    utils = pytest.importorskip("vllm.v1.core.kv_cache_utils", reason="vLLM is not installed")
    interface = pytest.importorskip("vllm.v1.kv_cache_interface")
    import torch
    from vllm.distributed.utils import get_pp_indices
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
    from vllm.v1.kv_cache_layout import KVCacheLayout

MIB = 1 << 20
GPU = Device("NVIDIA H100 80GB HBM3", 80 << 30)
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
Specs = dict[str, Any]


# Models


def attention(heads: int, size: int, *, window: int | None = None, chunk: int | None = None) -> Any:
    return Attention(2 * heads, heads, size, size, window=window, chunk=chunk)


heads = st.sampled_from([1, 2, 3, 4, 8, 16])
sizes = st.sampled_from([64, 80, 128, 256])
full = st.builds(attention, heads, sizes)


@st.composite
def plain(draw: st.DrawFn) -> list[Mixer]:
    return [draw(full)] * draw(st.integers(1, 40))


@st.composite
def uneven(draw: st.DrawFn) -> list[Mixer]:
    """Full attention throughout, but of different widths."""
    return draw(st.lists(full, min_size=2, max_size=12))


@st.composite
def windows(draw: st.DrawFn) -> list[Mixer]:
    """Sliding windows or chunks between layers of full attention, and some of other widths."""
    n_heads, size = draw(heads), draw(sizes)
    reach = draw(st.sampled_from([128, 512, 1024, 4096, 8192]))
    by_chunk = draw(st.booleans())
    local = attention(n_heads, size, **{"chunk" if by_chunk else "window": reach})
    other = draw(st.one_of(st.just(attention(n_heads, size)), full))
    count = draw(st.integers(1, 24))
    every = draw(st.integers(1, 6))
    mixers: list[Mixer] = [other if i % (every + 1) == every else local for i in range(count)]
    return [*mixers, other] if draw(st.booleans()) else mixers


@st.composite
def states(draw: st.DrawFn) -> list[Mixer]:
    """State spaces between layers of full attention."""
    n_heads = draw(st.sampled_from([8, 16, 32]))
    state = StateSpace(
        "mamba2",
        (
            State((draw(st.sampled_from([1024, 4096, 8192])), 3), 0),
            State((n_heads, 64, draw(st.sampled_from([16, 64, 128]))), 0, 4),
        ),
        params=0,
    )
    mixer = draw(full)
    every = draw(st.integers(1, 7))
    return [mixer if i % (every + 1) == every else state for i in range(draw(st.integers(8, 32)))]


@st.composite
def latent(draw: st.DrawFn) -> list[Mixer]:
    indexer = draw(st.booleans())
    mixer = LatentAttention(
        16, None, 512, 128, 64, 128, index_heads=64 * indexer, index_head_dim=128 * indexer
    )
    return [mixer] * draw(st.integers(1, 61))


models = st.one_of(plain(), uneven(), windows(), states(), latent())


def facts_of(mixers: list[Mixer]) -> ModelFacts:
    return ModelFacts(
        name="made-up",
        architecture="MadeUpForCausalLM",
        hidden_size=1024,
        vocab_size=32000,
        # What follows attention must not matter, even if it tells layers apart.
        layers=tuple(Layer(mixer, Dense(128 << (i % 3))) for i, mixer in enumerate(mixers)),
        tied_embeddings=False,
        max_position_embeddings=131072,
        dtype="bfloat16",
    )


# vLLM's side


def token_bytes(mixer: Any, tp: int, dtype: torch.dtype) -> int:
    if isinstance(mixer, LatentAttention):
        return 576 * dtype.itemsize
    return max(1, mixer.n_kv_heads // tp) * 2 * mixer.head_dim * dtype.itemsize


def state_shapes(mixer: StateSpace, tp: int) -> tuple[tuple[int, ...], ...]:
    return tuple((s.shape[0] // tp, *s.shape[1:]) for s in mixer.states)


def specs_of(mixers: list[Mixer], asked: Settings, dtype: torch.dtype) -> tuple[Specs, ...]:
    """What vLLM's layers would declare, by pipeline rank."""
    block_size = resolve(facts_of(mixers), asked, GPU).block_size
    page = None
    if any(isinstance(m, StateSpace) for m in mixers):
        block_size, page = aligned(mixers, asked, dtype, block_size)
    ranks = []
    for rank in range(asked.pp):
        start, end = get_pp_indices(len(mixers), rank, asked.pp)
        specs: Specs = {}
        for i in range(start, end):
            specs |= layer_specs(i, mixers[i], asked, dtype, block_size, page)
        ranks.append(specs)
    return tuple(ranks)


def aligned(
    mixers: list[Mixer], asked: Settings, dtype: torch.dtype, block_size: int
) -> tuple[int, int | None]:
    """As vllm.platforms.interface._align_hybrid_block_size has it."""
    tokens = [token_bytes(m, asked.tp, dtype) for m in mixers if not isinstance(m, StateSpace)]
    if not tokens:
        return block_size, None
    state = next(m for m in mixers if isinstance(m, StateSpace))
    raw = interface.MambaSpec(
        block_size=-1, shapes=state_shapes(state, asked.tp), dtypes=(dtype, torch.float32)
    ).page_size_bytes
    block_size *= math.ceil(raw / (block_size * tokens[0]))
    return block_size, block_size * tokens[0]


def layer_specs(
    i: int, mixer: Mixer, asked: Settings, dtype: torch.dtype, block_size: int, page: int | None
) -> Specs:
    if isinstance(mixer, StateSpace):
        spec = interface.MambaSpec(
            block_size=asked.max_model_len,
            shapes=state_shapes(mixer, asked.tp),
            dtypes=(dtype, torch.float32),
            page_size_padded=page,
            mamba_cache_mode="align" if asked.prefix_caching else "none",
        )
        return {f"layer.{i}": spec}
    if isinstance(mixer, LatentAttention):
        specs = {
            f"layer.{i}": interface.MLAAttentionSpec(
                block_size=block_size, num_kv_heads=1, head_size=576, dtype=dtype
            )
        }
        if mixer.index_heads:
            specs[f"layer.{i}.indexer"] = interface.MLAAttentionSpec(
                block_size=block_size,
                num_kv_heads=1,
                head_size=132,
                dtype=torch.uint8,
                cache_role=interface.SparseCacheRole.INDEXER,
            )
        return specs
    common: dict[str, Any] = {
        "block_size": block_size,
        "num_kv_heads": max(1, mixer.n_kv_heads // asked.tp),
        "head_size": mixer.head_dim,
        "dtype": dtype,
    }
    if mixer.window:
        return {f"layer.{i}": interface.SlidingWindowSpec(**common, sliding_window=mixer.window)}
    if mixer.chunk:
        return {
            f"layer.{i}": interface.ChunkedLocalAttentionSpec(
                **common, attention_chunk_size=mixer.chunk
            )
        }
    return {f"layer.{i}": interface.FullAttentionSpec(**common)}


def vllm_config(asked: Settings, *, hybrid: bool) -> Any:
    resolved = resolve(facts_of([attention(1, 64)]), asked, GPU)
    return SimpleNamespace(
        model_config=SimpleNamespace(
            max_model_len=asked.max_model_len, original_max_model_len=asked.max_model_len
        ),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=not hybrid),
        parallel_config=SimpleNamespace(
            decode_context_parallel_size=1, tensor_parallel_size=asked.tp
        ),
        cache_config=SimpleNamespace(
            num_gpu_blocks_override=None,
            mamba_cache_mode="align" if asked.prefix_caching else "none",
            prefix_cache_retention_interval=None,
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.LBNHC,
        ),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
        num_prefill_lookahead_tokens=0,
        max_in_flight_tokens=resolved.max_num_batched_tokens * resolved.concurrent_batches,
    )


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register_all_kvcache_specs(vllm_config(Settings(max_model_len=1024), hybrid=True))


# The comparison

asked_for = st.builds(
    Settings,
    tp=st.sampled_from([1, 2, 4, 8]),
    pp=st.sampled_from([1, 1, 1, 2, 3]),
    dtype=st.sampled_from(sorted(DTYPES)),
    max_model_len=st.integers(1, 131072),
    max_num_batched_tokens=st.sampled_from([512, 2048, 8192]),
    prefix_caching=st.booleans(),
)


def compare(mixers: list[Mixer], asked: Settings, available: list[int], *, hybrid: bool) -> None:
    specs = specs_of(mixers, asked, DTYPES[asked.dtype])
    config = vllm_config(asked, hybrid=hybrid)
    ours = kv.pool(facts_of(mixers), asked, GPU)
    room = [n >= needed for n, needed in zip(available, ours.request_bytes, strict=True)]
    if not all(room):
        with pytest.raises(ValueError, match=r"KV cache|cache blocks"):
            utils.get_kv_cache_configs(config, list(specs), available)
        return
    configs = utils.get_kv_cache_configs(config, list(specs), available)
    tokens, concurrency = utils.get_kv_cache_capacity(config, configs[0])
    found = kv.capacity(ours, available)
    assert found.blocks == configs[0].num_blocks
    assert found.tokens == tokens
    assert found.max_concurrency == pytest.approx(concurrency, rel=1e-12)
    assert len(ours.groups) == len(configs[0].kv_cache_groups)


@settings(deadline=None, max_examples=400)
@given(mixers=models, asked=asked_for, data=st.data())
def test_blocks_tokens_and_concurrency_are_vllms(
    mixers: list[Mixer], asked: Settings, data: st.DataObject
) -> None:
    if len(mixers) < asked.pp:
        asked = Settings(**{**vars(asked), "pp": 1})
    sizes = st.integers(MIB, 64 * 1024 * MIB)
    available = data.draw(st.lists(sizes, min_size=asked.pp, max_size=asked.pp))
    compare(mixers, asked, available, hybrid=True)


@pytest.mark.parametrize("version", [(0, 9, 2), (0, 7, 3)])
@settings(deadline=None, max_examples=100)
@given(mixers=windows(), asked=asked_for)
def test_without_the_hybrid_manager_windows_are_kept_in_full(
    version: tuple[int, int, int], mixers: list[Mixer], asked: Settings
) -> None:
    asked = Settings(**{**vars(asked), "pp": 1})
    old = Settings(**{**vars(asked), "vllm_version": version, "block_size": 16})
    specs = specs_of(mixers, asked, DTYPES[asked.dtype])
    config = vllm_config(asked, hybrid=False)
    groups = utils.get_kv_cache_groups(config, dict(specs[0]))
    ours = kv.pool(facts_of(mixers), old, GPU)
    per_block = utils._pool_bytes_per_block(config, groups)
    assert ours.block_bytes == (per_block,)
    assert len(ours.groups) == len(groups)
