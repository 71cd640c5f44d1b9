"""The roofline: what it must get the right way round, and a figure worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.models.facts import Experts
from placement.plan.speed import Hardware, Shape, Workload, concurrency, predict, step
from tests.placement.boxes import llama

CARD = Hardware(bandwidth_bytes_per_s=1e12, flops=200e12)
SHAPE = Shape(
    facts=llama(8),
    tp=1,
    pp=1,
    weights_bytes=16_000_000_000,
    read_bytes=15_000_000_000,
    active_params=8_000_000_000,
    kv_bytes_per_token=131072,
    kv_capacity_tokens=100_000,
    max_num_seqs=256,
)


def test_one_stream_is_bound_by_reading_the_weights() -> None:
    seconds, bound = step(SHAPE, CARD, 1, 0)
    assert seconds == pytest.approx(15e9 / (1e12 * 0.7) + 0.0015)
    assert bound == "memory bandwidth"


def test_large_batches_are_bound_by_compute() -> None:
    seconds, bound = step(SHAPE, CARD, 1024, 0)
    assert seconds == pytest.approx(1024 * 2 * 8e9 / (200e12 * 0.5) + 0.0015)
    assert bound == "compute"


def test_concurrency_is_what_the_cache_holds_and_the_engine_takes() -> None:
    assert concurrency(SHAPE, Workload(900, 100)) == 100
    assert concurrency(SHAPE, Workload(90, 10)) == 256
    assert concurrency(replace(SHAPE, kv_capacity_tokens=1), Workload(900, 100)) == 1


@given(batch=st.integers(1, 512), context=st.integers(0, 32768))
def test_a_faster_card_is_never_slower(batch: int, context: int) -> None:
    better = Hardware(CARD.bandwidth_bytes_per_s * 2, CARD.flops * 2)
    assert step(SHAPE, better, batch, context)[0] < step(SHAPE, CARD, batch, context)[0]


@given(kv_tokens=st.integers(2000, 10**6))
def test_more_cache_is_never_less_throughput(kv_tokens: int) -> None:
    small = predict(replace(SHAPE, kv_capacity_tokens=kv_tokens), CARD, Workload())
    large = predict(replace(SHAPE, kv_capacity_tokens=2 * kv_tokens), CARD, Workload())
    assert large.tokens_per_s >= small.tokens_per_s
    assert large.single_stream_tokens_per_s == small.single_stream_tokens_per_s


def test_splitting_over_pcie_costs_more_than_over_nvlink() -> None:
    halves = replace(SHAPE, tp=2, read_bytes=SHAPE.read_bytes // 2, kv_bytes_per_token=65536)
    nvlink = replace(CARD, nvlink_bytes_per_s=450e9)
    over_pcie, over_nvlink = (predict(halves, card, Workload()) for card in (CARD, nvlink))
    assert over_nvlink.tokens_per_s > over_pcie.tokens_per_s
    assert over_nvlink.ttft_s < over_pcie.ttft_s
    assert over_nvlink.single_stream_tokens_per_s > 1 / step(SHAPE, CARD, 1, 1152)[0]


def test_a_mixture_reads_few_experts_for_one_token_and_nearly_all_for_many() -> None:
    layer = replace(SHAPE.facts.layers[0], feed_forward=Experts(128, 8, 768))
    sparse = replace(
        SHAPE,
        facts=replace(SHAPE.facts, layers=(layer,) * 32),
        read_bytes=2_000_000_000,
        active_params=1_000_000_000,
    )
    one, many = (step(sparse, CARD, batch, 0)[0] - 0.0015 for batch in (1, 200))
    assert one == pytest.approx(2e9 / 0.7e12)
    assert many == pytest.approx(16e9 / 0.7e12, rel=0.08)


def test_a_pipeline_takes_a_stream_no_faster_but_more_of_them() -> None:
    stages = replace(SHAPE, pp=2, read_bytes=SHAPE.read_bytes // 2, kv_bytes_per_token=65536)
    alone, piped = predict(SHAPE, CARD, Workload()), predict(stages, CARD, Workload())
    assert piped.single_stream_tokens_per_s < alone.single_stream_tokens_per_s
    bigger = replace(stages, kv_capacity_tokens=4 * SHAPE.kv_capacity_tokens)
    assert predict(bigger, CARD, Workload()).tokens_per_s > alone.tokens_per_s
