"""GGML's types, and how GGUF's metadata names what a config.json says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import UsageError

# By number: name, elements in a block, bytes of a block (ggml/src/ggml-common.h).
BLOCKS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "llama4": "Llama4ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3moe": "Qwen3MoeForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "phi2": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "granite": "GraniteForCausalLM",
    "granitemoe": "GraniteMoeForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "command-r": "CohereForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmoe": "OlmoeForCausalLM",
    "gpt-oss": "GptOssForCausalLM",
    "deepseek2": "DeepseekV3ForCausalLM",
    "glm4": "Glm4ForCausalLM",
    "glm4moe": "Glm4MoeForCausalLM",
    "exaone": "ExaoneForCausalLM",
    "exaone4": "Exaone4ForCausalLM",
    "mamba": "MambaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gptneox": "GPTNeoXForCausalLM",
    "falcon": "FalconForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
    "ernie4_5": "Ernie4_5ForCausalLM",
}
# What a config.json calls it, and how GGUF does after the architecture's name.
_NAMES = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "max_position_embeddings": "context_length",
    "sliding_window": "attention.sliding_window",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "rotary_dim": "rope.dimension_count",
    "vocab_size": "vocab_size",
}


def config_of(metadata: Mapping[str, Any], has_output: bool) -> dict[str, Any]:
    """The metadata under the names of a config.json."""
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str):
        raise UsageError("the GGUF file does not name its architecture (general.architecture)")
    config = {name: _plain(metadata.get(f"{kind}.{key}")) for name, key in _NAMES.items()}
    tokens = metadata.get("tokenizer.ggml.tokens")
    if config["vocab_size"] is None and tokens is not None:
        config["vocab_size"] = tokens if isinstance(tokens, int) else len(tokens)
    config |= {
        "architectures": [_architecture(kind, metadata)],
        "tie_word_embeddings": not has_output,
        "dtype": "float16",
    }
    if config["kv_lora_rank"]:
        config |= _latent(kind, metadata)
    return {name: value for name, value in config.items() if value is not None}


def _architecture(kind: str, metadata: Mapping[str, Any]) -> str:
    """Mixtral's files say that they are Llamas, with experts."""
    if kind == "llama" and metadata.get("llama.expert_count"):
        return "MixtralForCausalLM"
    return _ARCHITECTURES.get(kind, kind)


def _latent(kind: str, metadata: Mapping[str, Any]) -> dict[str, int]:
    """With latent attention, lengths of keys and values are those after expansion."""
    key = metadata.get(f"{kind}.attention.key_length_mla")
    value = metadata.get(f"{kind}.attention.value_length_mla")
    key = int(key or metadata[f"{kind}.attention.key_length"])
    value = int(value or metadata[f"{kind}.attention.value_length"])
    rope = int(metadata[f"{kind}.rope.dimension_count"])
    return {
        "qk_nope_head_dim": key - rope,
        "qk_rope_head_dim": rope,
        "v_head_dim": value,
        "head_dim": key,
    }


def _plain(value: Any) -> Any:
    """One number a layer: the largest stands for all."""
    if isinstance(value, list):
        return max((each for each in value if isinstance(each, int)), default=None)
    return value
