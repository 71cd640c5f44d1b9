"""The activation's peak against what vLLM measured; sources in placement/data/footprint.json."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.units import GIB
from placement.footprint.activation import activation
from placement.footprint.settings import Device, Settings
from placement.models.facts import Attention, Dense, Layer, ModelFacts
from tests.placement.footprint import facts_made_up as made_up
from tests.placement.footprint.facts_made_up import H100, V019

V100 = Device("Tesla V100-SXM2-32GB", int(31.74 * GIB))


def gib(facts: ModelFacts, settings: Settings = V019, device: Device = H100) -> float:
    return activation(facts, settings, device).n_bytes / GIB


@pytest.mark.parametrize(
    ("facts", "settings", "logged"),
    [
        (made_up.llama_8b(), V019, 1.89),
        (made_up.llama_8b(), replace(V019, dtype="float32"), 2.21),
        (made_up.llama_8b(), replace(V019, tp=4), 1.89),
        (made_up.llama_8b(), replace(V019, max_model_len=32768), 1.89),
        (made_up.qwen3_30b_a3b(), V019, 2.68),
        (made_up.latent(27), V019, 1.93),
        (made_up.qwen3_14b(), replace(V019, vllm_version=(0, 17, 0)), 2.23),
        (made_up.qwen3_14b(), replace(V019, vllm_version=(0, 16, 0)), 5.64),
        (made_up.llama_8b(), replace(V019, vllm_version=(0, 6, 4)), 1.26),
    ],
)
def test_logged(facts: ModelFacts, settings: Settings, logged: float) -> None:
    assert gib(facts, settings) == pytest.approx(logged, abs=0.025)


def test_long_prefills_outweigh_the_sampler_in_the_old_engine() -> None:
    """Qwen2.5-7B on a V100 with 0.8.5, which takes a whole context of 32768 at once: 4.35 GiB."""
    facts = made_up.model(
        (Layer(Attention(28, 4, 128, 128), Dense(18944)),) * 28,
        hidden=3584,
        vocab=152064,
    )
    settings = Settings(vllm_version=(0, 8, 5), max_model_len=32768)
    assert gib(facts, settings, V100) == pytest.approx(4.35, abs=0.05)


def test_fewer_sequences_free_memory() -> None:
    assert gib(made_up.llama_8b(), replace(V019, max_num_seqs=64)) < 1.0


def test_only_the_last_pipeline_rank_samples() -> None:
    """Llama-3.1-8B, PP 2: 1.10 GiB logged on the first rank, and 0.91 more on the last."""
    settings = replace(V019, pp=2)
    first, last = (
        activation(made_up.llama_8b(), settings, H100, rank=rank).n_bytes / GIB for rank in (0, 1)
    )
    assert first == pytest.approx(1.10, abs=0.05)
    assert last - first == pytest.approx(0.91, abs=0.03)


def test_mxfp4_experts_keep_no_buffers() -> None:
    dense = gib(made_up.qwen3_30b_a3b())
    assert gib(made_up.mxfp4(made_up.qwen3_30b_a3b())) == pytest.approx(dense - 0.5, abs=0.01)


def test_a_tower_adds_what_it_puts_out() -> None:
    with_tower = gib(made_up.with_tower(made_up.llama_8b()))
    assert with_tower - gib(made_up.llama_8b()) == pytest.approx(0.0625 + 0.04, abs=0.001)


def test_where_the_sampler_is_not_known_the_difference_is_told() -> None:
    settings = replace(V019, vllm_version=(0, 11, 0))
    found = activation(made_up.llama_8b(), settings, H100)
    worst = gib(made_up.llama_8b(), replace(settings, vllm_version=(0, 11, 1)))
    assert (found.n_bytes + found.uncertain_bytes) / GIB == pytest.approx(worst)


def test_the_source_says_which_peak_it_is() -> None:
    assert "1024 sequences" in activation(made_up.llama_8b(), V019, H100).source
    few = replace(V019, max_num_seqs=4)
    assert "8192 tokens" in activation(made_up.llama_8b(), few, H100).source
