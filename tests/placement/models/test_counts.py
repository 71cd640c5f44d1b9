"""Parameter counts against transformers' own models, built on the meta device: no weights."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from placement.footprint.weights import params
from placement.models.config_json import facts_of
from tests.placement.configs import config

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

_SMALL = {"num_hidden_layers": 4}
# Families whose config class makes a model of a few layers from these alone.
TEXT = [
    "arcee",
    "bamba",
    "cohere",
    "cohere2",
    "deepseek_v2",
    "ernie4_5",
    "exaone4",
    "falcon",
    "falcon_h1",
    "falcon_mamba",
    "flex_olmo",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "glm4",
    "gpt_neox",
    "gpt_oss",
    "granite",
    "granitemoe",
    "granitemoehybrid",
    "granitemoeshared",
    "hyperclovax",
    "llama",
    "mamba2",
    "minicpm3",
    "minimax",
    "ministral3",
    "mistral",
    "mixtral",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "phi",
    "phi3",
    "phimoe",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "seed_oss",
    "smollm3",
    "stablelm",
    "starcoder2",
]
MORE: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2},
    "deepseek_v3": {"num_hidden_layers": 4},
    "deepseek_v32": {"num_hidden_layers": 4},
    "gemma4_text": {},
    "glm4_moe": {"num_hidden_layers": 3},
    "glm4_moe_lite": {"num_hidden_layers": 3},
    "glm_moe_dsa": {"num_hidden_layers": 4},
    "gpt2": {},
    "gpt_bigcode": {},
    "gptj": {"n_layer": 2},
    "jamba": {"num_hidden_layers": 8},
    "kimi_linear": {"num_hidden_layers": 4},
    "lfm2": {},
    "llama4_text": {"num_hidden_layers": 4},
    "mamba": {},
    "mimo_v2_flash": {"num_hidden_layers": 4},
    "minimax_m2": {"num_hidden_layers": 2},
    "mpt": {"n_layers": 2},
    "nemotron_h": {},
    "opt": {},
    "qwen3_5_moe_text": {"num_hidden_layers": 4},
    "qwen3_5_text": {"num_hidden_layers": 4},
}
_SO400M = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 896,
    "patch_size": 14,
    "vision_use_head": False,
}
VISION: dict[str, dict[str, Any]] = {
    "gemma3": {"vision_config": _SO400M},
    "glm4v": {},
    "llama4": {"text_config": {"num_hidden_layers": 4}},
    "llava_onevision": {},
    "mistral3": {"tie_word_embeddings": False},
    "qwen2_vl": {},
    "qwen2_5_vl": {},
    "qwen3_vl": {},
    "qwen3_5": {},
}
REAL = (
    "Llama-3.1-8B-Instruct",
    "Qwen2.5-7B-Instruct",
    "Qwen3-30B-A3B",
    "gemma-2-27b-it",
    "granite-3.1-2b-instruct",
    "Qwen3.5-27B",
    "Qwen3-VL-8B",
)


def made(kind: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    """The count of transformers' own model, and the config.json that it would save."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made_config = transformers.CONFIG_MAPPING[kind](**changes)
        return counted(made_config), json.loads(made_config.to_json_string(use_diff=False))


def counted(made_config: Any) -> int:
    kinds = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    auto = (
        transformers.AutoModelForImageTextToText
        if hasattr(made_config, "vision_config") or made_config.model_type not in kinds
        else transformers.AutoModelForCausalLM
    )
    with torch.device("meta"):
        model = auto.from_config(made_config)
    return sum(each.numel() for each in model.parameters())


def architecture(kind: str, *, vision: bool = False) -> str:
    auto = transformers.models.auto.modeling_auto
    names = (
        auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        if vision
        else auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    return str(names[kind])


@pytest.mark.parametrize("kind", [*TEXT, *MORE])
def test_a_family_counts_as_transformers_does(kind: str) -> None:
    count, given = made(kind, **MORE.get(kind, _SMALL))
    facts = facts_of(given | {"architectures": [architecture(kind)]})
    assert params(facts) == count
    assert not any("is not a known architecture" in note for note in facts.notes)


@pytest.mark.parametrize("kind", VISION)
def test_a_family_with_a_tower_counts_as_transformers_does(kind: str) -> None:
    count, given = made(kind, **VISION[kind])
    facts = facts_of(given | {"architectures": [architecture(kind, vision=True)]})
    assert facts.tower is not None
    assert params(facts) == count


@pytest.mark.parametrize("name", REAL)
def test_a_released_model_counts_as_transformers_does(name: str) -> None:
    given = config(name)
    kind = given.get("model_type") or _KINDS[given["architecture"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made_config = transformers.CONFIG_MAPPING[kind](
            **{k: v for k, v in given.items() if k not in {"model_type", "sliding_window_pattern"}}
        )
        count = counted(made_config)
    assert params(facts_of(given)) == count


_KINDS = {
    "LlamaForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3MoeForCausalLM": "qwen3_moe",
    "Gemma2ForCausalLM": "gemma2",
    "GraniteForCausalLM": "granite",
}


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # What the model cards say, to their last digit.
        ("DeepSeek-V3", 671.0),
        ("gpt-oss-20b", 20.9),
        ("Kimi-K2.5", 1026.9),
        ("gemma-4-26B-A4B", 25.8),
        ("MiniMax-M2.5", 228.7),
        ("Nemotron-H-56B", 56.2),
        ("Llama-4-Scout-17B-16E-Instruct", 108.6),
    ],
)
def test_counts_of_models_that_are_known_by_their_size(name: str, billions: float) -> None:
    assert params(facts_of(config(name))) / 1e9 == pytest.approx(billions, rel=0.004)
