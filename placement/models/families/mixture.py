"""Families with experts and ordinary attention, and those with latent attention (MLA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from placement.models import parts
from placement.models.facts import Attention, Dense, Experts, LatentAttention, Layer, Weight
from placement.models.families.base import Family, decoder
from placement.models.fields import Fields
from placement.models.towers import llama4_vit, moonvit

_QWEN3_MOE = {"qk_norm": True, "use_sliding_window": False}
_QWEN2_MOE = {"qkv_bias": True, "shared_expert_gate": True, "use_sliding_window": False}
_DEEPSEEK = {
    "n_shared_experts": 0,
    "first_k_dense_replace": 0,
    "moe_layer_freq": 1,
    "topk_method": "greedy",
}
_DEEPSEEK_V3 = {**_DEEPSEEK, "topk_method": "noaux_tc"}
_LLAMA4 = {
    "interleave_moe_layer_step": 1,
    "n_shared_experts": 1,
    "attention_chunk_size": 8192,
    "attention_chunk_pattern": 4,
    "intermediate_size_mlp": 16384,
    "num_experts_per_tok": 1,
}
_GLM4_MOE = {
    "attention_out_bias": False,
    "topk_method": "noaux_tc",
    "first_k_dense_replace": 1,
    "partial_rotary_factor": 0.5,
    "n_shared_experts": 1,
}
_GPT_OSS = {
    "attention_bias": True,
    "expert_bias": True,
    "attention_sinks": True,
    "sliding_window": 128,
    "sliding_window_pattern": 2,
    "gated_mlp": True,
}
_ERNIE = {
    "tie_word_embeddings": True,
    "moe_layer_start_index": 1,
    "moe_layer_interval": 1,
    "moe_num_shared_experts": 2,
    "moe_router_enable_expert_bias": True,
}
_BAILING = {"num_shared_experts": 0, "first_k_dense_replace": 0}
_MINIMAX_M2 = {
    "qk_norm": True,
    "full_qk_norm": True,
    "use_routing_bias": True,
    "router_dtype": "float32",
}
_MINIMAX_M3 = {"qk_norm": True, "gated_mlp": True, "router_dtype": "float32"}


def _gpt_oss(fields: Fields) -> Sequence[Layer]:
    """The router has a bias of the model's dtype."""
    extra = (Weight("mlp.router.bias", parts.n_experts(fields)),)
    return [replace(layer, extra=extra) for layer in decoder(fields)]


def _dbrx(fields: Fields) -> Sequence[Layer]:
    attention, feed_forward = fields.section("attn_config"), fields.section("ffn_config")
    heads, hidden = fields.need("n_heads"), fields.need("d_model")
    size = hidden // heads
    mixer = Attention(heads, int(attention.get("kv_n_heads", heads)), size, size)
    experts = Experts(
        int(feed_forward.get("moe_num_experts", 16)),
        int(feed_forward.get("moe_top_k", 4)),
        int(feed_forward.get("ffn_hidden_size", 10752)),
    )
    return [Layer(mixer, experts) for _ in range(fields.need("n_layers"))]


def _deepseek(fields: Fields) -> Sequence[Layer]:
    """Newer GLM models share an index between layers, so that only some layers have an indexer."""
    kinds = fields.listing("indexer_types")
    layers = decoder(fields)
    return [
        replace(layer, mixer=_without_indexer(layer.mixer))
        if kinds and kinds[i] == "shared" and isinstance(layer.mixer, LatentAttention)
        else layer
        for i, layer in enumerate(layers)
    ]


def _without_indexer(mixer: LatentAttention) -> LatentAttention:
    return replace(mixer, index_heads=0, index_head_dim=0)


def _mimo_v2(fields: Fields) -> Sequence[Layer]:
    """Local layers have heads of their own number and size."""
    pattern = fields.listing("hybrid_layer_pattern")
    layers = decoder(fields)
    plain = parts.attention(fields)
    local = replace(
        plain,
        n_heads=fields.number("swa_num_attention_heads", default=plain.n_heads),
        n_kv_heads=fields.number("swa_num_key_value_heads", default=2 * plain.n_kv_heads),
        head_dim=fields.number("swa_head_dim", default=plain.head_dim),
        v_head_dim=fields.number("swa_v_head_dim", default=plain.v_head_dim),
        window=fields.number("sliding_window_size", "sliding_window") or None,
        sinks=fields.flag("add_swa_attention_sink_bias", default=True),
    )
    full = replace(plain, sinks=fields.flag("add_full_attention_sink_bias"))
    return [
        replace(layer, mixer=local if _is_local(layer, pattern, i) else full)
        for i, layer in enumerate(layers)
    ]


def _is_local(layer: Layer, pattern: Sequence[Any], i: int) -> bool:
    if i < len(pattern):
        return bool(pattern[i])
    return getattr(layer.mixer, "window", None) is not None


def _llama4(fields: Fields) -> Sequence[Layer]:
    """Its norms of queries and keys have no weights."""
    return [
        replace(layer, mixer=replace(layer.mixer, qk_norm=False))
        if isinstance(layer.mixer, Attention)
        else layer
        for layer in decoder(fields)
    ]


def _longcat(fields: Fields) -> Sequence[Layer]:
    """A layer has two attentions and two dense parts, and experts beside the first."""
    dense = Dense(fields.need("ffn_hidden_size", "intermediate_size"))
    routed = parts.experts(fields)
    empty = fields.number("zero_expert_num")
    routed = replace(routed, dense=dense, empty_experts=empty, router_bias=True)
    mixer = parts.latent_attention(fields)
    pair = (Layer(mixer, routed), Layer(mixer, dense))
    fields.note("LongCat-Flash: each layer counts as two, one for each of its attentions")
    return pair * fields.need("num_layers", "num_hidden_layers")


def _minimax_m3(fields: Fields) -> Sequence[Layer]:
    """Some layers attend sparsely, by an indexer with queries and keys of its own."""
    sparse = fields.section("sparse_attention_config")
    hidden, size = fields.need(*parts.HIDDEN), int(sparse.get("sparse_index_dim", 0))
    heads = int(sparse.get("sparse_num_index_heads", 0))
    chosen = sparse.get("sparse_attention_freq") or ()
    extra = (
        Weight("self_attn.index_q_proj", heads * size, hidden, "rows", linear=True),
        Weight("self_attn.index_k_proj", size, hidden, linear=True),
        Weight("self_attn.index_q_norm", size),
        Weight("self_attn.index_k_norm", size),
    )
    return [
        replace(layer, extra=extra if i < len(chosen) and chosen[i] else ())
        for i, layer in enumerate(decoder(fields))
    ]


_DEEPSEEK_FAMILY = Family(_DEEPSEEK_V3, _deepseek)
FAMILIES: dict[str, Family] = {
    "MixtralForCausalLM": Family(),
    "Qwen2MoeForCausalLM": Family(_QWEN2_MOE),
    "Qwen3MoeForCausalLM": Family(_QWEN3_MOE),
    "OlmoeForCausalLM": Family({"qk_norm": True, "full_qk_norm": True}),
    "FlexOlmoForCausalLM": Family({"qk_norm": True, "full_qk_norm": True}),
    "PhiMoEForCausalLM": Family(
        {
            "attention_bias": True,
            "norm_vectors": 2,
            "lm_head_bias": True,
        }
    ),
    "GraniteMoeForCausalLM": Family({"tie_word_embeddings": True}),
    "GraniteMoeSharedForCausalLM": Family({"tie_word_embeddings": True}),
    "DbrxForCausalLM": Family({"sliding_window": 0}, _dbrx),
    "GptOssForCausalLM": Family(_GPT_OSS, _gpt_oss),
    "MiniMaxM2ForCausalLM": Family(_MINIMAX_M2),
    "MiniMaxM3ForCausalLM": Family(_MINIMAX_M3, _minimax_m3),
    "MiniMaxM3SparseForCausalLM": Family(_MINIMAX_M3, _minimax_m3),
    "MiniMaxM3SparseForConditionalGeneration": Family(
        {"qk_norm": True, "gated_mlp": True}, _minimax_m3
    ),
    "Llama4ForCausalLM": Family(_LLAMA4, _llama4),
    "Llama4ForConditionalGeneration": Family(_LLAMA4, _llama4, tower=llama4_vit),
    "Glm4MoeForCausalLM": Family(_GLM4_MOE),
    "Ernie4_5_MoeForCausalLM": Family(_ERNIE),
    "HunYuanMoEV1ForCausalLM": Family({"qk_norm": True, "num_shared_expert": 1}),
    "Dots1ForCausalLM": Family({"qk_norm": True, "topk_method": "noaux_tc"}),
    "BailingMoeForCausalLM": Family(_BAILING),
    "BailingMoeV2ForCausalLM": Family({**_BAILING, "qk_norm": True}),
    "MiMoV2FlashForCausalLM": Family({"topk_method": "noaux_tc"}, _mimo_v2),
    "MiMoV2ForCausalLM": Family({"topk_method": "noaux_tc"}, _mimo_v2),
    "Step3p5ForCausalLM": Family({"qk_norm": True}, note="Step 3.5's head gates are not counted"),
    "Step3p7FlashForCausalLM": Family(
        {"qk_norm": True}, note="Step 3.7's head gates are not counted"
    ),
    "DeepseekForCausalLM": Family(_DEEPSEEK),
    "DeepseekV2ForCausalLM": Family(_DEEPSEEK),
    "DeepseekV3ForCausalLM": _DEEPSEEK_FAMILY,
    "DeepseekV32ForCausalLM": _DEEPSEEK_FAMILY,
    "GlmMoeDsaForCausalLM": _DEEPSEEK_FAMILY,
    "Glm4MoeLiteForCausalLM": _DEEPSEEK_FAMILY,
    "LongcatFlashForCausalLM": Family(_DEEPSEEK, _longcat),
    "MiniCPM3ForCausalLM": Family({"tie_word_embeddings": True}),
    "KimiVLForConditionalGeneration": Family(_DEEPSEEK_V3, _deepseek, tower=moonvit),
    "KimiK25ForConditionalGeneration": Family(_DEEPSEEK_V3, _deepseek, tower=moonvit),
}
