"""Facts from config.json files: nested ones, flat ones, and those that lack something."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import UsageError
from placement.models.config_json import facts_of
from placement.models.facts import Attention, Dense, Experts, LatentAttention, StateSpace
from tests.placement.configs import config

LLAMA = config("Llama-3.1-8B-Instruct")


def test_a_plain_llama() -> None:
    facts = facts_of(LLAMA, "llama")
    assert (facts.name, facts.architecture) == ("llama", "LlamaForCausalLM")
    assert (facts.n_heads, facts.n_kv_heads, len(facts.layers)) == (32, 8, 32)
    assert facts.layers[0].feed_forward == Dense(14336)
    assert (facts.dtype, facts.tied_embeddings, facts.tower) == ("bfloat16", False, None)
    assert facts.notes == ()


def test_head_dim_defaults_to_the_hidden_size_over_the_heads() -> None:
    given = {key: value for key, value in LLAMA.items() if key != "head_dim"}
    assert facts_of(given | {"num_attention_heads": 64}).layers[0].mixer == Attention(64, 8, 64, 64)


@pytest.mark.parametrize(
    ("name", "bias", "qk_norm"),
    [("Qwen2.5-7B-Instruct", True, False), ("Qwen3-14B", False, True), ("gemma-7b", False, False)],
)
def test_what_a_family_has_without_saying_so(name: str, bias: bool, qk_norm: bool) -> None:
    flat = {k: v for k, v in config(name).items() if k not in {"qkv_bias", "qk_norm"}}
    mixer = facts_of(flat).layers[0].mixer
    assert isinstance(mixer, Attention)
    assert (mixer.qkv_bias, mixer.qk_norm) == (bias, qk_norm)


def test_gemma_ties_its_embeddings_when_the_config_is_silent() -> None:
    flat = config("gemma-7b")
    del flat["tie_word_embeddings"]
    assert facts_of(flat).tied_embeddings


@pytest.mark.parametrize(
    ("name", "window", "kinds"),
    [
        ("gemma-3-12b-it", 1024, "SSSSSF"),
        ("gemma-2-27b-it", 4096, "SF"),
        ("gpt-oss-20b", 128, "SF"),
    ],
)
def test_sliding_windows_by_pattern(name: str, window: int, kinds: str) -> None:
    layers = facts_of(config(name)).layers
    for layer, kind in zip(layers, kinds * len(layers), strict=False):
        assert isinstance(layer.mixer, Attention)
        assert layer.mixer.window == (window if kind == "S" else None)


def test_layer_types_count_before_a_pattern() -> None:
    flat = config("gemma-2-27b-it") | {"layer_types": ["full_attention"] * 46}
    assert all(getattr(layer.mixer, "window", 0) is None for layer in facts_of(flat).layers)


def test_a_window_that_is_switched_off() -> None:
    qwen = config("Qwen2.5-7B-Instruct") | {"sliding_window": 131072, "max_window_layers": 28}
    for given in (qwen, qwen | {"use_sliding_window": False}):
        assert all(getattr(layer.mixer, "window", 0) is None for layer in facts_of(given).layers)


def test_a_window_of_all_layers() -> None:
    facts = facts_of(LLAMA | {"architectures": ["MistralForCausalLM"], "sliding_window": 4096})
    assert {getattr(layer.mixer, "window", None) for layer in facts.layers} == {4096}


def test_chunked_attention_of_llama_4() -> None:
    layers = facts_of(config("Llama-4-Scout-17B-16E-Instruct")).layers
    assert [getattr(layer.mixer, "chunk", 0) for layer in layers[:4]] == [8192, 8192, 8192, None]


def test_experts_in_some_layers() -> None:
    layers = facts_of(config("DeepSeek-V2-Lite-Chat")).layers
    assert layers[0].feed_forward == Dense(10944)
    assert layers[1].feed_forward == Experts(64, 6, 1408, shared_size=2816)
    every_second = config("Qwen3-30B-A3B") | {"decoder_sparse_step": 2}
    kinds = [type(layer.feed_forward) for layer in facts_of(every_second).layers[:4]]
    assert kinds == [Dense, Experts, Dense, Experts]


def test_latent_attention_flat_and_nested() -> None:
    flat = config("DeepSeek-V2-Lite-Chat")
    latent = flat["mla"]
    nested = {k: v for k, v in flat.items() if k != "mla"} | latent
    mixer = facts_of(flat).layers[0].mixer
    assert mixer == facts_of({"text_config": nested}).layers[0].mixer
    assert mixer == LatentAttention(16, None, 512, 128, 64, 128, latent_norms=1)


def test_a_hybrid_of_linear_and_full_attention() -> None:
    layers = facts_of(config("Qwen3.5-27B")).layers
    kinds = ["gdn" if isinstance(layer.mixer, StateSpace) else "full" for layer in layers[:8]]
    assert kinds == ["gdn", "gdn", "gdn", "full"] * 2
    state = layers[0].mixer
    assert isinstance(state, StateSpace)
    assert [each.shape for each in state.states] == [(10240, 3), (48, 128, 128)]
    assert state.states[1].itemsize == 4
    assert state.params == sum(w.params for w in state.weights if w.split)


def test_a_hybrid_by_letters() -> None:
    facts = facts_of(config("Nemotron-H-56B"))
    kinds = {"M": (StateSpace, type(None)), "-": (type(None), Dense), "*": (Attention, type(None))}
    pattern = config("Nemotron-H-56B")["hybrid_override_pattern"]
    assert len(facts.layers) == len(pattern) == 118
    for letter, layer in zip(pattern, facts.layers, strict=True):
        assert (type(layer.mixer), type(layer.feed_forward)) == kinds[letter]
    assert facts.rope_caches == ()


def test_towers_that_the_config_does_not_describe() -> None:
    """Sizes of the released models stand in."""
    for name, billions in (("gemma-3-12b-it", 0.421), ("Mistral-Small-3.1-24B", 0.439)):
        tower = facts_of(config(name)).tower
        assert tower is not None
        assert tower.params / 1e9 == pytest.approx(billions, abs=0.001)
        assert tower.params == sum(weight.params for weight in tower.weights)


def test_a_tower_in_front_of_any_language_model() -> None:
    """LLaVA's config says little of its language model; that model's own class says the rest."""
    qwen = {k: v for k, v in config("Qwen2.5-7B-Instruct").items() if k not in _NAMING}
    for outer in ("LlavaForConditionalGeneration", "InternVLChatModel", "NovelVisionModel"):
        facts = facts_of({"architectures": [outer], "text_config": qwen | {"model_type": "qwen2"}})
        assert facts.layers == facts_of(config("Qwen2.5-7B-Instruct")).layers
        assert (facts.tower is None) == (outer == "NovelVisionModel")


def test_sections_within_sections() -> None:
    """Omni models keep the language model and its towers in a section of the thinker."""
    inner = {k: v for k, v in config("Qwen2.5-7B-Instruct").items() if k not in _NAMING}
    thinker = {"text_config": inner, "vision_config": {"depth": 2}, "audio_config": {"d_model": 1}}
    given = {"architectures": ["Qwen2_5OmniModel"], "thinker_config": thinker}
    facts = facts_of(given)
    assert facts.layers == facts_of(config("Qwen2.5-7B-Instruct")).layers
    assert facts.tower is not None
    assert len(facts.tower.weights) < 40
    assert facts.rope_caches[0].positions == 4 * 32768


_NAMING = {"architecture", "qkv_bias"}


def test_an_unknown_architecture_is_read_by_common_names_and_says_so() -> None:
    odd = LLAMA | {"architectures": ["NovelForCausalLM"], "vision_config": {"hidden_size": 1024}}
    facts = facts_of(odd)
    assert facts.layers == facts_of(LLAMA).layers
    assert "NovelForCausalLM is not a known architecture" in facts.notes[0]
    assert "vision tower is not counted" in facts.notes[1]


@pytest.mark.parametrize("given", [{}, {"architectures": ["LlamaForCausalLM"], "vocab_size": 1000}])
def test_what_is_missing_is_listed(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        facts_of(given, "mine")
    for word in ("mine", "num_hidden_layers", "hidden_size", "num_attention_heads", "config.json"):
        assert word in error.value.message
    assert ("vocab_size" in error.value.message) == ("vocab_size" not in given)


def test_model_type_stands_in_for_the_architecture() -> None:
    given = {k: v for k, v in LLAMA.items() if k not in {"architecture", "architectures"}}
    assert facts_of(given | {"model_type": "qwen2"}).architecture == "Qwen2ForCausalLM"


@pytest.mark.parametrize(
    ("said", "dtype"),
    [("float32", "float32"), ("torch.float16", "float16"), ("half", "float16"), (None, "bfloat16")],
)
def test_dtypes(said: str | None, dtype: str) -> None:
    assert facts_of(LLAMA | {"torch_dtype": said}).dtype == dtype


@pytest.mark.parametrize(
    ("scaling", "positions"),
    [
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 131072),
        ({"rope_type": "linear", "factor": 2.0}, 262144),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "default", "mrope_section": [16, 24, 24]}, 524288),
        ({"rope_type": "longrope", "original_max_position_embeddings": 4096}, 135168),
    ],
)
def test_how_long_the_rotary_table_is(scaling: dict[str, Any], positions: int) -> None:
    (cache,) = facts_of(LLAMA | {"rope_scaling": scaling}).rope_caches
    assert (cache.positions, cache.rotary_dim) == (positions, 128)


def test_two_kinds_of_rotary_embedding_make_two_tables() -> None:
    local, wide = sorted(facts_of(config("gemma-3-12b-it")).rope_caches, key=lambda c: c.positions)
    assert (local.positions, wide.positions) == (131072, 8 * 131072)


def test_a_quantization_that_only_the_name_tells_of() -> None:
    facts = facts_of(LLAMA, "RedHatAI/Llama-3.1-8B-Instruct-quantized.w4a16")
    assert facts.quantization is not None
    assert facts.quantization.bits == pytest.approx(4.125)
    assert "taken from the model's name" in facts.notes[0]
    assert facts_of(LLAMA, "meta-llama/Llama-3.1-8B-Instruct").quantization is None


def test_nas_layers_differ() -> None:
    blocks = [
        {"attention": {"n_heads_in_group": 8}, "ffn": {"ffn_mult": 1.0}},
        {"attention": {"no_op": True}, "ffn": {"ffn_mult": 2.625}},
        {"attention": {"n_heads_in_group": 16}, "ffn": {"no_op": True}},
    ]
    given = LLAMA | {"architectures": ["DeciLMForCausalLM"], "block_configs": blocks}
    first, second, third = facts_of(given).layers
    assert isinstance(first.mixer, Attention)
    assert isinstance(third.mixer, Attention)
    assert (first.mixer.n_kv_heads, third.mixer.n_kv_heads) == (4, 2)
    assert (second.mixer, third.feed_forward) == (None, None)
    assert (first.feed_forward, second.feed_forward) == (Dense(2816), Dense(7168))
    without = {k: v for k, v in given.items() if k not in {"block_configs", "intermediate_size"}}
    with pytest.raises(UsageError, match="block_configs"):
        facts_of(without)
