"""Bits a weight from quantization_config, in the forms that the tools write."""

from __future__ import annotations

from typing import Any

import pytest

from placement.footprint.storage import matches, scheme_of
from placement.models.facts import Quantization, Scheme
from placement.models.quantization import quantization_of
from placement.models.schemes import hinted, known_methods, named


def read(section: dict[str, Any]) -> Quantization:
    found = quantization_of({"quantization_config": section})
    assert found is not None
    return found


def group(weights: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights} | more}}


@pytest.mark.parametrize(
    ("section", "bits"),
    [
        ({"quant_method": "fp8", "activation_scheme": "static"}, 8),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 8 + 32 / 128**2),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, 4 + 20 / 128),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True}, 4.5),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": True}, 8),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": False}, 4 + 20 / 64),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True}, 4.125),
        ({"quant_method": "mxfp4"}, 4.25),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4.5),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 4.5),
        ({"quant_algo": "FP8", "exclude_modules": ["lm_head"]}, 8),
        ({"quant_method": "torchao", "quant_type": {"default": "Int4WeightOnly"}}, 4.25),
        (
            {"quant_method": "compressed-tensors"}
            | group({"num_bits": 8, "type": "int", "strategy": "channel"}),
            8,
        ),
        (
            {"quant_method": "compressed-tensors", "format": "pack-quantized"}
            | group({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}),
            4.5,
        ),
        (
            {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}
            | group({"num_bits": 4, "type": "float", "group_size": 16}),
            4.5,
        ),
        (
            {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized"}
            | group({"num_bits": 4, "type": "float", "group_size": 32}),
            4.25,
        ),
    ],
)
def test_bits(section: dict[str, Any], bits: float) -> None:
    assert read(section).bits == pytest.approx(bits)


def test_a_checkpoint_without_quantization() -> None:
    assert quantization_of({"architectures": ["LlamaForCausalLM"]}) is None


def test_the_section_may_stand_in_the_text_config() -> None:
    found = quantization_of({"text_config": {"quantization_config": {"quant_method": "fp8"}}})
    assert found is not None
    assert found.method == "fp8"


def test_ignored_modules_keep_the_dtype() -> None:
    found = read({"quant_method": "compressed-tensors", "ignore": ["lm_head", "re:.*self_attn.*"]})
    assert scheme_of(found, "model.layers.3.self_attn.q_proj", "linear") is None
    assert scheme_of(found, "model.layers.3.mlp.down_proj", "linear") is not None
    assert scheme_of(found, "model.layers.3.mlp.norm", "plain") is None


def test_experts_only() -> None:
    found = read({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]})
    assert scheme_of(found, "model.layers.0.mlp.experts.0.gate_proj", "experts") is not None
    assert scheme_of(found, "model.layers.0.self_attn.q_proj", "linear") is None


def test_groups_of_their_own() -> None:
    section = {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "group_0": {"targets": ["re:.*experts.*"], "weights": {"num_bits": 4, "type": "float"}},
            "group_1": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 8}},
        },
    }
    found = read(section)
    experts = scheme_of(found, "model.layers.0.mlp.experts.0.gate_proj", "experts")
    attention = scheme_of(found, "model.layers.0.self_attn.o_proj", "linear")
    assert (experts and experts.weight_bits, attention and attention.weight_bits) == (4, 8)


def test_rules_for_single_layers() -> None:
    dynamic = read({"quant_method": "gptq", "dynamic": {"-:.*self_attn.*": {}}})
    assert scheme_of(dynamic, "model.layers.0.self_attn.o_proj", "linear") is None
    extra = read(
        {
            "quant_method": "auto-round",
            "extra_config": {"model.layers.1.mlp.down_proj": {"bits": 16}},
        }
    )
    assert scheme_of(extra, "model.layers.1.mlp.down_proj", "linear") is None
    assert scheme_of(extra, "model.layers.2.mlp.down_proj", "linear") is not None
    mixed = read(
        {
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {
                "model.layers.0.mlp.down_proj": {"quant_algo": "FP8"},
                "model.layers.1.mlp.down_proj": {"quant_algo": "NVFP4"},
            },
        }
    )
    first = scheme_of(mixed, "model.layers.0.mlp.down_proj", "linear")
    second = scheme_of(mixed, "model.layers.1.mlp.down_proj", "linear")
    assert (first and first.weight_bits, second and second.weight_bits) == (8, 4)
    assert scheme_of(mixed, "model.layers.2.mlp.down_proj", "linear") is None


@pytest.mark.parametrize(
    ("pattern", "name", "matched"),
    [
        ("lm_head", "lm_head", True),
        ("gate", "model.layers.0.mlp.gate", True),
        ("gate", "model.layers.0.mlp.gate_proj", False),
        ("model.layers.*.self_attn", "model.layers.7.self_attn.q_proj", True),
        ("model.layers.1.mlp", "model.layers.11.mlp.down_proj", False),
        ("language_model.model.layers.1.mlp", "model.layers.1.mlp.down_proj", True),
        ("model.layers.0.self_attn.qkv_proj", "model.layers.0.self_attn.q_proj", True),
        ("re:.*mlp.gate$", "model.layers.0.mlp.gate", True),
        ("re:.*mlp.gate$", "model.layers.0.mlp.gate_proj", False),
        ("vision_tower", "vision_tower.layers.0.mlp.fc1.weight", True),
    ],
)
def test_what_a_rule_matches(pattern: str, name: str, matched: bool) -> None:
    assert matches(pattern, name) == matched


def test_every_method_by_name_has_bits() -> None:
    for method in known_methods():
        found = named(method)
        assert found is not None
        assert 1 < found.bits <= 9


@pytest.mark.parametrize("method", [None, "", "auto", "none", "no-such-method"])
def test_names_that_mean_no_quantization(method: str | None) -> None:
    assert named(method) is None


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("Qwen/Qwen3-14B-AWQ", "awq"),
        ("kaitchup/Phi-4-AutoRound-GPTQ-4bit", "gptq"),
        ("nvidia/Qwen3.6-27B-NVFP4", "nvfp4"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "w8a8"),
        ("Qwen/Qwen3-32B-FP8", "fp8"),
        ("unsloth/meta-llama-3.1-8b-instruct-bnb-4bit", "bitsandbytes"),
        ("Qwen/Qwen3-8B", None),
    ],
)
def test_what_a_name_says(name: str, method: str | None) -> None:
    assert hinted(name) == method


def test_bits_of_a_scheme_count_scales() -> None:
    assert Scheme(4, group=128, scale_bytes=2, zero_bits=4).bits == 4.15625
