"""Weights on a rank: against logged starts, against arithmetic by hand, and against files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint.settings import Settings
from placement.footprint.weights import (
    active_params,
    params,
    pp_layers,
    rank_weights,
    read_bytes_per_token,
)
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts, Quantization, Scheme, StoredWeights
from placement.models.load import load
from tests.placement.configs import config
from tests.placement.models import files

V019 = (0, 19, 0)
# "Model loading took" of vLLM v0.19 on H100, from the logs of llm-d-planner's pull request 205.
LOGGED: list[tuple[str, dict[str, Any], float]] = [
    ("Llama-3.1-8B-Instruct", {}, 14.99),
    ("Llama-3.1-8B-Instruct", {"dtype": "float32"}, 29.98),
    ("Llama-3.1-8B-Instruct", {"quantization": "fp8"}, 8.49),
    ("Llama-3.1-8B-Instruct", {"tp": 2}, 7.51),
    ("Llama-3.1-8B-Instruct", {"tp": 4}, 3.77),
    ("Llama-3.1-8B-Instruct", {"pp": 2}, 7.51),
    ("Llama-3.1-8B-Instruct", {"pp": 4}, 4.26),
    ("Qwen2.5-7B-Instruct", {"tp": 2}, 7.12),
    ("Qwen2.5-7B-Instruct", {"quantization": "compressed-tensors"}, 8.14),
    ("Qwen3-30B-A3B", {}, 56.88),
    ("Qwen1.5-MoE-A2.7B", {}, 26.67),
    ("gemma-2-27b-it", {}, 50.72),
    ("gemma-3-4b-it", {}, 8.58),
    ("gemma-3-12b-it", {}, 23.31),
    ("granite-3.1-2b-instruct", {}, 4.74),
    ("phi-2", {}, 5.19),
    ("Mistral-Small-3.1-24B", {}, 44.76),
    ("Llama-4-Scout-17B-16E-Instruct", {"tp": 4}, 53.12),
    ("DeepSeek-V2-Lite-Chat", {}, 29.43),
    ("Kimi-VL-A3B-Instruct", {"tp": 2}, 15.53),
    ("gpt-oss-20b", {}, 13.64),
    ("gpt-oss-20b", {"tp": 2}, 7.01),
]
NAMES = sorted({name for name, _, _ in LOGGED} | {"DeepSeek-V3", "Qwen3.5-27B", "MiMo-V2-Flash"})


@pytest.mark.parametrize(("name", "asked", "gib"), LOGGED)
def test_logged_starts(name: str, asked: dict[str, Any], gib: float) -> None:
    ranks = rank_weights(facts_of(config(name)), Settings(vllm_version=V019, **asked))
    assert len(ranks) == asked.get("pp", 1)
    assert max(ranks) / GIB == pytest.approx(gib, rel=0.005)


def test_a_gpu_without_the_hopper_layout_pads_otherwise() -> None:
    """13.72 GiB on an A100 with v0.19, where it is 13.64 on an H100."""
    facts = facts_of(config("gpt-oss-20b"))
    ampere = rank_weights(facts, Settings(vllm_version=V019), (8, 0))[0]
    assert ampere / GIB == pytest.approx(13.72, rel=0.005)


@pytest.mark.parametrize(
    ("n_layers", "pp", "counts"),
    [
        (32, 4, (8, 8, 8, 8)),
        (94, 4, (23, 24, 24, 23)),
        (61, 8, (7, 7, 8, 8, 8, 8, 8, 7)),
        (3, 2, (2, 1)),
    ],
)
def test_layers_of_pipeline_ranks(n_layers: int, pp: int, counts: tuple[int, ...]) -> None:
    assert pp_layers(n_layers, pp) == counts


@given(st.integers(1, 200), st.integers(1, 16))
def test_every_layer_is_on_one_rank(n_layers: int, pp: int) -> None:
    counts = pp_layers(n_layers, pp)
    assert (sum(counts), len(counts)) == (n_layers, pp)
    assert max(counts) - min(counts) <= 1


def tiny(**changes: Any) -> ModelFacts:
    return facts_of(files.TINY | changes)


PLAIN = Settings(vllm_version=V019, dtype="float32")


def test_by_hand() -> None:
    """Float32, so that each tensor of this model is a multiple of 512 bytes but the norms."""
    layer = 64 * 128 + 64 * 64 + 3 * 64 * 128
    norms = (2 * 4 + 1) * 512
    rope = 512 * 16 * 4
    assert rank_weights(tiny(), PLAIN) == (4 * (256 * 64 + 4 * layer) + norms + rope,)


def test_vocabulary_is_padded_to_64() -> None:
    assert rank_weights(tiny(vocab_size=193), PLAIN) == rank_weights(tiny(), PLAIN)


def test_tied_embeddings_lie_on_the_first_and_the_last_rank() -> None:
    settings = replace(PLAIN, pp=4)
    ranks = rank_weights(tiny(), settings)
    untied = rank_weights(tiny(tie_word_embeddings=False), settings)
    assert ranks == untied
    assert ranks[0] == ranks[1] + 256 * 64 * 4
    assert ranks[3] == ranks[1] + 256 * 64 * 4 + 512  # and the final norm
    alone = rank_weights(tiny(tie_word_embeddings=False), PLAIN)[0]
    assert alone - rank_weights(tiny(), PLAIN)[0] == 256 * 64 * 4


def test_key_and_value_heads_are_repeated_when_ranks_outnumber_them() -> None:
    facts = tiny(num_attention_heads=8, num_key_value_heads=2, head_dim=64)
    two, four, eight = (rank_weights(facts, replace(PLAIN, tp=tp))[0] for tp in (2, 4, 8))
    kv_head = 2 * 64 * 64 * 4
    four_less = 4 * (2 * 2 * 64 * 64 + 3 * 64 * 32) * 4 + 64 * 64 * 4
    assert two - four == four_less  # a rank still holds one head, as with two ranks
    assert four - eight == 4 * (2 * 64 * 64 + 3 * 64 * 16) * 4 + 32 * 64 * 4
    assert kv_head < eight


def test_the_rotary_table_is_whole_on_every_rank() -> None:
    short, long = tiny(max_position_embeddings=1024), tiny(max_position_embeddings=1024 * 1024)
    for tp in (1, 2):
        less, more = (rank_weights(f, replace(PLAIN, tp=tp))[0] for f in (short, long))
        assert more - less == (1024 - 1) * 1024 * 16 * 4


def test_expert_parallel_takes_whole_experts() -> None:
    facts = facts_of(config("Qwen3-30B-A3B"))
    tp = rank_weights(facts, Settings(tp=4))[0]
    ep = rank_weights(facts, Settings(tp=4, expert_parallel=True))[0]
    assert ep == pytest.approx(tp, rel=0.001)
    uneven = facts_of(config("Qwen1.5-MoE-A2.7B"))  # 60 experts over 8 ranks: some hold 8
    ep = rank_weights(uneven, Settings(tp=8, expert_parallel=True))[0]
    assert ep > rank_weights(uneven, Settings(tp=8))[0]


def test_a_lone_group_of_mamba_2_is_repeated_on_every_rank() -> None:
    """Its B and C serve all heads: 2 x 128 rows of in_proj that TP cannot divide."""
    flat = config("Nemotron-H-56B")
    eight, one = (facts_of(flat | {"n_groups": n}) for n in (8, 1))
    settings = Settings(tp=4)
    by_groups = rank_weights(eight, settings)[0] - rank_weights(one, settings)[0]
    layers = flat["hybrid_override_pattern"].count("M")
    rows = 2 * 8 * 256 // 4 - 2 * 256
    assert by_groups == pytest.approx(layers * rows * 8192 * 2, rel=0.05)


def test_latent_projections_that_compress_are_whole_on_every_rank() -> None:
    facts = facts_of({k: v for k, v in config("DeepSeek-V3").items() if k != "quantization_config"})
    one, eight = (rank_weights(facts, Settings(tp=tp))[0] for tp in (1, 8))
    compressed = 61 * 7168 * (1536 + 512 + 64) * 2
    assert eight > (one - compressed) / 8 + compressed


def test_quantized_latent_attention_keeps_a_copy_in_the_dtype() -> None:
    facts = facts_of(config("DeepSeek-V3"))
    assert facts.quantization is not None
    kept = replace(facts.quantization, unquantized=("kv_b_proj",))
    with_copy = rank_weights(facts, Settings(tp=8))[0]
    without = rank_weights(replace(facts, quantization=kept), Settings(tp=8))[0]
    kv_b = 61 * 512 * 16 * 256
    assert with_copy - without == pytest.approx(kv_b, rel=0.05)  # 1 + 2 bytes against 2


@pytest.mark.parametrize("name", NAMES)
def test_more_ranks_hold_less_but_together_no_less(name: str) -> None:
    facts = facts_of(config(name))
    whole = rank_weights(facts, Settings())[0]
    for tp in (2, 4):
        rank = rank_weights(facts, Settings(tp=tp))[0]
        assert whole / tp <= rank * 1.001
        assert rank < whole
    stages = rank_weights(facts, Settings(pp=2))
    assert max(stages) < whole
    assert sum(stages) >= whole * 0.999


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_at_least_their_parameters(name: str) -> None:
    facts = facts_of(config(name))
    bits = facts.quantization.bits if facts.quantization else 16
    assert rank_weights(facts, Settings())[0] >= params(facts) * min(bits, 16) / 8


@pytest.mark.parametrize(
    ("method", "low"),
    [("fp8", 8), ("int8", 8), ("awq", 4.15), ("gptq", 4.12), ("nvfp4", 4.5), ("bitsandbytes", 4.5)],
)
def test_quantized_linear_layers_beside_plain_embeddings(method: str, low: float) -> None:
    facts = facts_of(config("Llama-3.1-8B-Instruct"))
    plain = 2 * 128256 * 4096 * 2 + 65 * 4096 * 2 + 131072 * 128 * 2
    linear = params(facts) - 2 * 128256 * 4096 - 65 * 4096
    size = rank_weights(facts, Settings(vllm_version=V019, quantization=method))[0]
    bits = (size - plain) * 8 / linear
    low = {"fp8": 8, "awq": 4.15, "gptq": 4.12, "nvfp4": 4.5, "int8": 8, "bitsandbytes": 4.5}[
        method
    ]
    assert low <= bits < low + 0.05


def test_a_checkpoints_own_quantization_counts_before_what_is_asked_for() -> None:
    facts = replace(tiny(), quantization=Quantization("awq", 4.125, scheme=Scheme(4, 128)))
    assert rank_weights(facts, replace(PLAIN, quantization="fp8")) == rank_weights(facts, PLAIN)


def test_active_parameters_of_mixtures() -> None:
    """The model cards' figures, less the input embeddings where a card counts them."""
    cards = (("Qwen3-30B-A3B", 3.3 - 0.31), ("gpt-oss-20b", 3.6), ("DeepSeek-V3", 37 - 0.93))
    for name, billions in cards:
        assert active_params(facts_of(config(name))) / 1e9 == pytest.approx(billions, rel=0.03)
    dense = facts_of(config("Llama-3.1-8B-Instruct"))
    assert active_params(dense) == params(dense) - 128256 * 4096


def test_bytes_read_for_a_token() -> None:
    dense = facts_of(config("Llama-3.1-8B-Instruct"))
    read = read_bytes_per_token(dense, Settings())
    assert read == pytest.approx(2 * active_params(dense), rel=0.001)
    assert read_bytes_per_token(dense, Settings(tp=2)) == pytest.approx(read / 2, rel=0.001)
    assert read_bytes_per_token(dense, Settings(pp=2)) > read / 2  # the last stage has the output
    assert read_bytes_per_token(dense, Settings(quantization="fp8")) < 0.6 * read
    moe = facts_of(config("Qwen3-30B-A3B"))
    assert read_bytes_per_token(moe, Settings()) == pytest.approx(2 * active_params(moe), rel=0.01)


# Bytes as files hold them.


def test_stored_weights_agree_with_arithmetic(tmp_path: Path) -> None:
    facts = load(str(files.model_folder(tmp_path)))
    assert facts.stored is not None
    for settings in (Settings(), Settings(tp=2), Settings(pp=2), Settings(tp=4, pp=4)):
        by_file = rank_weights(facts, settings)
        assert by_file == pytest.approx(
            rank_weights(replace(facts, stored=None), settings), abs=512 * 40
        )


def test_stored_float32_is_halved_at_load(tmp_path: Path) -> None:
    single = load(str(files.model_folder(tmp_path / "f32", dtype="F32")))
    half = load(str(files.model_folder(tmp_path / "bf16")))
    assert single.stored is not None
    assert half.stored is not None
    assert single.stored.total_bytes == 2 * half.stored.total_bytes
    assert rank_weights(single, Settings()) == rank_weights(half, Settings())


def test_asking_for_quantization_leaves_the_files_aside(tmp_path: Path) -> None:
    facts = load(str(files.model_folder(tmp_path)))
    asked = Settings(quantization="fp8")
    assert rank_weights(facts, asked) == rank_weights(replace(facts, stored=None), asked)


def test_names_decide_how_stored_tensors_are_divided() -> None:
    tensors = {
        "model.embed_tokens.weight": 2**20,
        "model.layers.0.self_attn.q_proj.qweight": 2**20,
        "model.layers.0.self_attn.k_proj.qweight": 2**20,  # two heads: in two at most
        "model.layers.0.mlp.experts.0.down_proj.qweight": 2**20,
        "model.layers.0.mlp.gate.weight": 2**20,  # whole
        "model.layers.0.input_layernorm.weight": 1024,  # whole
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": 2**20,  # whole
        "model.layers.4.self_attn.q_proj.weight": 2**20,  # a draft layer: left out
        "mtp.layers.0.mlp.down_proj.weight": 2**20,  # left out
    }
    quantization = Quantization("awq", 4.125)
    facts = replace(tiny(), stored=StoredWeights(tensors), quantization=quantization)
    rope = 512 * 16 * 2
    expected = 2**20 * (1 / 4 + 1 / 4 + 1 / 2 + 1 / 4 + 1 + 1) + 1024 + rope
    assert rank_weights(facts, Settings(tp=4)) == (expected,)
    first, second = rank_weights(facts, Settings(pp=2))
    assert second == 2**20 + rope  # the tied embeddings, and no stored layer
    assert first == 2**20 * 6 + 1024 + rope
