"""The KV cache of models whose figures public logs of vLLM give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint import kv
from placement.footprint.settings import Device, Settings
from placement.models.facts import ModelFacts
from tests.placement.footprint import facts_made_up as made_up
from tests.placement.footprint.facts_made_up import H100

OLD = Settings(vllm_version=(0, 19, 0), max_model_len=8192, max_num_batched_tokens=8192)
NEW = replace(OLD, vllm_version=(0, 27, 1))


def capacity(facts: ModelFacts, settings: Settings, gib: float) -> kv.Capacity:
    pool = kv.pool(facts, settings, H100)
    return kv.capacity(pool, [int(gib * GIB)] * settings.pp)


def blocks(facts: ModelFacts, settings: Settings, n_blocks: int) -> kv.Capacity:
    """As many blocks as a log speaks of."""
    pool = kv.pool(facts, settings, H100)
    return kv.capacity(pool, [n_blocks * n_bytes for n_bytes in pool.block_bytes])


def test_llama_8b() -> None:
    assert kv.pool(made_up.llama_8b(), OLD, H100).block_bytes == (16 * 131072,)
    found = capacity(made_up.llama_8b(), OLD, 58.11)
    assert found.blocks == pytest.approx(29751, abs=3)
    assert found.max_concurrency == pytest.approx(58.11, abs=0.01)


@pytest.mark.parametrize(
    ("dtype", "kv_dtype", "bytes_per_token"),
    [
        ("auto", "auto", 131072),
        ("float32", "auto", 262144),
        ("float16", "fp8", 65536),
        ("auto", "fp8_e5m2", 65536),
        ("auto", "bfloat16", 131072),
        ("auto", "nvfp4", 36864),  # 72 bytes of 128 values, half of them for K
    ],
)
def test_dtypes(dtype: str, kv_dtype: str, bytes_per_token: int) -> None:
    settings = replace(OLD, dtype=dtype, kv_cache_dtype=kv_dtype)
    assert kv.pool(made_up.llama_8b(), settings, H100).block_bytes == (16 * bytes_per_token,)


@pytest.mark.parametrize(("tp", "share"), [(1, 8), (2, 4), (8, 1), (16, 1), (32, 1)])
def test_more_ranks_than_kv_heads_hold_copies(tp: int, share: int) -> None:
    found = kv.pool(made_up.llama_8b(), replace(OLD, tp=tp), H100).block_bytes
    assert found == (16 * 131072 * share // 8,)


def test_latent_attention_is_not_split() -> None:
    one, eight = (kv.pool(made_up.latent(27), replace(OLD, tp=tp), H100) for tp in (1, 8))
    assert one.block_bytes == eight.block_bytes == (16 * 31104,)


@pytest.mark.parametrize(
    ("kv_dtype", "bytes_per_token"), [("auto", 1152 + 132), ("fp8", 656 + 132)]
)
def test_a_sparse_indexer_has_a_cache_of_its_own(kv_dtype: str, bytes_per_token: int) -> None:
    facts = made_up.latent(61, index_heads=64)
    found = kv.pool(facts, replace(NEW, kv_cache_dtype=kv_dtype), H100)
    assert found.block_bytes == (64 * 61 * bytes_per_token,)


@pytest.mark.parametrize(
    ("version", "device", "block_size"),
    [
        ((0, 11, 0), "H100", 64),
        ((0, 19, 0), "H100", 16),
        ((0, 11, 0), "B200", 128),
        ((0, 27, 0), "B200", 32),
        ((0, 27, 0), "RTX 5090", 16),
        ((0, 7, 1), "A100", 16),
    ],
)
def test_blocks_of_latent_attention(
    version: tuple[int, int, int], device: str, block_size: int
) -> None:
    settings = Settings(vllm_version=version)
    found = kv.pool(made_up.latent(27), settings, Device(device, 80 * GIB))
    assert found.block_bytes == (block_size * 31104,)


def test_gemma_3_27b() -> None:
    """52 sliding and 10 full layers: 7 groups of 10."""
    facts = made_up.windows(10, 52, 16, 128, 1024)
    found = blocks(facts, OLD, 15997)
    assert found.tokens == 36560
    assert found.max_concurrency == pytest.approx(4.46, abs=0.005)


def test_gpt_oss_20b() -> None:
    found = blocks(made_up.windows(12, 12, 8, 64, 128), OLD, 159648)
    assert found.tokens == 1277184
    assert found.max_concurrency == pytest.approx(155.75, abs=0.005)


def test_qwen3_next_before_prefix_caching() -> None:
    """12 layers of attention and 36 of states on an H200: blocks of 544 tokens, one state each."""
    settings = Settings(vllm_version=(0, 11, 0), max_model_len=262144)
    facts = made_up.gated_delta(12, 36, itemsize=None)
    assert kv.pool(facts, settings, H100).block_size == 544
    found = blocks(facts, settings, 7162)
    assert found.tokens == 973760
    assert found.max_concurrency == pytest.approx(14.77, abs=0.005)


def test_qwen3_5_35b_with_prefix_caching() -> None:
    """10 layers of attention in fp8 and 30 of states: blocks of 2096 tokens, two states each."""
    settings = Settings(
        vllm_version=(0, 24, 0), max_model_len=131072, kv_cache_dtype="fp8", prefix_caching=True
    )
    pool = kv.pool(made_up.gated_delta(10, 30), settings, H100)
    assert (pool.block_size, pool.request_blocks) == (2096, 63 + 3 * 2)
    found = capacity(made_up.gated_delta(10, 30), settings, 5.98)
    assert found.tokens == 567978
    assert found.max_concurrency == pytest.approx(4.33, abs=0.005)


def test_prefix_caching_of_hybrids_is_a_default_since_0_27() -> None:
    facts = made_up.gated_delta(10, 30)
    old, new = (
        kv.pool(facts, Settings(vllm_version=version, max_model_len=131072), H100).request_blocks
        for version in ((0, 26, 0), (0, 27, 0))
    )
    assert new == old + 3


@pytest.mark.parametrize(("version", "batches"), [((0, 25, 0), 1), ((0, 26, 0), 2)])
def test_windows_outlive_the_batches_in_flight(version: tuple[int, int, int], batches: int) -> None:
    settings = Settings(vllm_version=version, max_model_len=131072, max_num_batched_tokens=4096)
    found = kv.pool(made_up.windows(12, 12, 8, 64, 128), settings, H100)
    sliding = -(-(127 + batches * 4096) // 16) + 1
    assert found.request_blocks == 131072 // 16 + sliding


@pytest.mark.parametrize(
    ("n_layers", "pp", "sizes"),
    [(94, 4, [23, 24, 24, 23]), (32, 3, [11, 11, 10]), (32, 4, [8, 8, 8, 8]), (5, 1, [5])],
)
def test_pipeline_stages(n_layers: int, pp: int, sizes: list[int]) -> None:
    stages = kv.pipeline_stages(n_layers, pp)
    assert [len(stage) for stage in stages] == sizes
    assert [layer for stage in stages for layer in stage] == list(range(n_layers))


def test_the_smallest_rank_bounds_the_tokens() -> None:
    """Two H100s, Llama-3.1-8B, PP 2: the last rank has less, and 67,207 blocks."""
    pool = kv.pool(made_up.llama_8b(), replace(OLD, pp=2), H100)
    assert pool.block_bytes == (1 << 20, 1 << 20)
    found = kv.capacity(pool, [int(66.54 * GIB), 67207 << 20])
    assert (found.blocks, found.tokens, found.rank) == (67207, 1075312, 1)


def test_without_attention_nothing_bounds_the_length() -> None:
    facts = made_up.model((), hidden=1024, vocab=32000)
    assert kv.capacity(kv.pool(facts, NEW, H100), [GIB]).tokens == 8192


def test_a_pool_below_nothing_holds_nothing() -> None:
    assert capacity(made_up.llama_8b(), OLD, -2.14).tokens == 0


@given(gib=st.floats(0.1, 500), more=st.floats(0, 100), length=st.integers(1, 131072))
def test_more_memory_never_holds_less(gib: float, more: float, length: int) -> None:
    facts = made_up.windows(10, 52, 16, 128, 1024)
    settings = replace(NEW, max_model_len=length)
    less, greater = (capacity(facts, settings, size) for size in (gib, gib + more))
    assert less.tokens <= greater.tokens
    assert less.max_concurrency <= greater.max_concurrency


@given(length=st.integers(1, 131071))
def test_a_longer_context_never_needs_less(length: int) -> None:
    facts = made_up.gated_delta(10, 30)
    shorter, longer = (
        kv.needed_bytes(facts, replace(NEW, max_model_len=n), H100) for n in (length, length + 1)
    )
    assert shorter <= longer
