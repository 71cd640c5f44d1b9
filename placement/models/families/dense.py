"""Families whose layers are attention and one feed-forward part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placement.models.facts import Layer, Weight
from placement.models.families.base import Family, decoder
from placement.models.fields import Fields
from placement.models.parts import HIDDEN

_LAYER_NORM = {"norm_vectors": 2}
_UNGATED = {"gated_mlp": False}
_TIED = {"tie_word_embeddings": True}
_ALL_BIAS = {"all_bias": True, **_LAYER_NORM, **_UNGATED}
_QKV_BIAS = {"attention_bias": True, "attention_out_bias": False}
_LEARNED = {"no_rope": True, "learned_positions": True}


def _embedding_norm(fields: Fields) -> tuple[Weight, ...]:
    hidden = fields.need(*HIDDEN)
    return (Weight("word_embeddings_layernorm", hidden),) * 2


def _falcon(fields: Fields) -> Sequence[Layer]:
    """Attention and feed-forward run side by side, behind one norm or behind one each."""
    new = fields.flag("new_decoder_architecture")
    parallel = fields.flag("parallel_attn", default=True)
    norms = fields.number("num_ln_in_parallel_attn", default=2) if new else 1 if parallel else 2
    return [replace(layer, norms=2 * norms) for layer in decoder(fields)]


def _hyperclova(fields: Fields) -> Sequence[Layer]:
    norms = 4 if fields.flag("use_post_norm", default=True) else 2
    return [replace(layer, norms=norms) for layer in decoder(fields)]


LLAMA = Family()
QWEN2 = Family({"qkv_bias": True, "use_sliding_window": False})
QWEN3 = Family({"qk_norm": True, "use_sliding_window": False})
_GLM_NORMS = {"norms_per_layer": 4}
_PHI = {
    **_ALL_BIAS,
    "one_norm_per_layer": True,
    "lm_head_bias": True,
    "partial_rotary_factor": 0.5,
}
_CHATGLM = {
    "add_qkv_bias": True,
    "partial_rotary_factor": 0.5,
    "kv_channels": 128,
    "vocab_size": 65024,
}
_FALCON = {
    "tie_word_embeddings": True,
    "multi_query": True,
    "ffn_factor": 4,
    **_UNGATED,
    **_LAYER_NORM,
}

FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": LLAMA,
    "LLaMAForCausalLM": LLAMA,
    "InternLM2ForCausalLM": LLAMA,
    "InternLM3ForCausalLM": Family({"qkv_bias": False}),
    "InternLMForCausalLM": Family({"qkv_bias": True, "attention_out_bias": True}),
    "YiForCausalLM": LLAMA,
    "AquilaForCausalLM": LLAMA,
    "SolarForCausalLM": LLAMA,
    "TeleChat3ForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Ministral3ForCausalLM": LLAMA,
    "Mistral3ForCausalLM": LLAMA,
    "SmolLM3ForCausalLM": Family(_TIED),
    "ExaoneForCausalLM": LLAMA,
    "Exaone4ForCausalLM": Family({"qk_norm": True}),
    "HyperCLOVAXForCausalLM": Family(layers=_hyperclova),
    "MiniCPMForCausalLM": Family(_TIED),
    "Ernie4_5ForCausalLM": Family(_TIED),
    "Ernie4_5_ForCausalLM": Family(_TIED),
    "SeedOssForCausalLM": Family(_QKV_BIAS),
    "HunYuanDenseV1ForCausalLM": Family({"qk_norm": True}),
    "ArceeForCausalLM": Family(_UNGATED),
    "ApertusForCausalLM": Family({"qk_norm": True, **_UNGATED}),
    "BaichuanForCausalLM": LLAMA,
    "BaiChuanForCausalLM": LLAMA,
    "OrionForCausalLM": Family(_LAYER_NORM),
    "MiMoForCausalLM": Family({**_QKV_BIAS, "use_sliding_window": False}),
    "GraniteForCausalLM": Family({"tie_word_embeddings": False}),
    "Phi3ForCausalLM": LLAMA,
    "Phi3SmallForCausalLM": LLAMA,
    "DeepseekLlmForCausalLM": LLAMA,
    "Qwen2ForCausalLM": QWEN2,
    "Qwen2Model": QWEN2,
    "Qwen3ForCausalLM": QWEN3,
    "QWenLMHeadModel": Family({"qkv_bias": True, "halved_intermediate": True}),
    "ChatGLMModel": Family(_CHATGLM),
    "ChatGLMForConditionalGeneration": Family(_CHATGLM),
    "GlmForCausalLM": Family({**_QKV_BIAS, "partial_rotary_factor": 0.5}),
    "Glm4ForCausalLM": Family({**_QKV_BIAS, "partial_rotary_factor": 0.5, **_GLM_NORMS}),
    "CohereForCausalLM": Family({**_TIED, "one_norm_per_layer": True, "full_qk_norm": True}),
    "Cohere2ForCausalLM": Family(
        {**_TIED, "one_norm_per_layer": True, "sliding_window_pattern": 4}
    ),
    "OlmoForCausalLM": Family({"norm_vectors": 0}),
    "Olmo2ForCausalLM": Family({"qk_norm": True, "full_qk_norm": True}),
    "Olmo3ForCausalLM": Family(
        {"qk_norm": True, "full_qk_norm": True, "sliding_window_pattern": 4}
    ),
    "StableLmForCausalLM": Family({**_LAYER_NORM, "partial_rotary_factor": 0.25}),
    "StableLMEpochForCausalLM": Family({**_LAYER_NORM, "partial_rotary_factor": 0.25}),
    "Starcoder2ForCausalLM": Family({**_TIED, **_UNGATED, **_LAYER_NORM, "use_bias": True}),
    "GPTBigCodeForCausalLM": Family(
        {**_TIED, **_ALL_BIAS, **_LEARNED, "multi_query": True, "ffn_factor": 4}
    ),
    "GPT2LMHeadModel": Family({**_TIED, **_ALL_BIAS, **_LEARNED, "ffn_factor": 4}),
    "GPTNeoXForCausalLM": Family({**_ALL_BIAS, "rotary_pct": 0.25}),
    "GPTJForCausalLM": Family(
        {
            **_UNGATED,
            **_LAYER_NORM,
            "one_norm_per_layer": True,
            "mlp_bias": True,
            "lm_head_bias": True,
            "ffn_factor": 4,
            "rotary_dim": 64,
        }
    ),
    "FalconForCausalLM": Family(_FALCON, _falcon),
    "RWForCausalLM": Family(_FALCON, _falcon),
    "OPTForCausalLM": Family({**_TIED, **_ALL_BIAS, **_LEARNED, "position_offset": 2}),
    "PhiForCausalLM": Family(_PHI),
    "MPTForCausalLM": Family({**_TIED, **_UNGATED, "no_rope": True, "ffn_factor": 4}),
    "MptForCausalLM": Family({**_TIED, **_UNGATED, "no_rope": True, "ffn_factor": 4}),
    "BloomForCausalLM": Family(
        {**_TIED, **_ALL_BIAS, "no_rope": True, "ffn_factor": 4}, extras=_embedding_norm
    ),
    "NemotronForCausalLM": Family({**_UNGATED, **_LAYER_NORM, "partial_rotary_factor": 0.5}),
}
