"""Families that mix attention with state spaces or linear attention, and pure state spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placement.models import parts
from placement.models.facts import Dense, Experts, FeedForward, Layer, StateSpace
from placement.models.families.base import Family, attention_of, decoder, feed_forward
from placement.models.families.states import (
    gated_delta_net,
    kimi_delta,
    lightning,
    mamba1,
    mamba2,
    short_conv,
)
from placement.models.fields import Fields
from placement.models.patterns import FULL, attention_kinds, expert_layers
from placement.models.towers import moonvit

_LINEAR = "linear_attention"
_QWEN_NEXT = {
    "qk_norm": True,
    "attn_output_gate": True,
    "shared_expert_gate": True,
    "partial_rotary_factor": 0.25,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "head_dim": 256,
    "use_sliding_window": False,
}


def _with_mixer(layers: Sequence[Layer], at: Sequence[bool], mixer: StateSpace) -> list[Layer]:
    return [
        replace(layer, mixer=mixer) if linear else layer
        for layer, linear in zip(layers, at, strict=True)
    ]


def _qwen_next(fields: Fields) -> Sequence[Layer]:
    layers = decoder(fields)
    every = fields.number("full_attention_interval", default=4)
    listed = fields.listing("layer_types")
    linear = [
        str(listed[i]) == _LINEAR if listed else (i + 1) % every != 0 for i in range(len(layers))
    ]
    return _with_mixer(layers, linear, gated_delta_net(fields))


def _kimi_linear(fields: Fields) -> Sequence[Layer]:
    layers = decoder(fields)
    chosen = {int(i) - 1 for i in fields.section("linear_attn_config").get("kda_layers") or ()}
    kinds = fields.listing("layer_types")
    linear = [str(kinds[i]) == _LINEAR if kinds else i in chosen for i in range(len(layers))]
    return _with_mixer(layers, linear, kimi_delta(fields))


def _minimax_text(fields: Fields) -> Sequence[Layer]:
    layers = decoder(fields)
    kinds = fields.listing("attn_type_list", "layer_types")
    linear = [bool(kinds) and str(kinds[i]) in {"0", _LINEAR} for i in range(len(layers))]
    return _with_mixer(layers, linear, lightning(fields))


def _jamba(fields: Fields) -> Sequence[Layer]:
    n_layers = fields.need(*parts.LAYERS)
    period, offset = (
        fields.number("attn_layer_period", default=8),
        fields.number("attn_layer_offset", default=4),
    )
    step, start = (
        fields.number("expert_layer_period", default=2),
        fields.number("expert_layer_offset", default=1),
    )
    state = mamba1(fields, normed=True)
    many = fields.number("num_experts", default=16) > 1
    return [
        Layer(
            attention_of(fields, FULL) if i % period == offset else state,
            feed_forward(fields, many and i % step == start),
        )
        for i in range(n_layers)
    ]


def _mamba(fields: Fields) -> Sequence[Layer]:
    return [Layer(mamba1(fields), None, norms=1) for _ in range(fields.need(*parts.LAYERS))]


def _mamba_2(fields: Fields) -> Sequence[Layer]:
    return [Layer(mamba2(fields), None, norms=1) for _ in range(fields.need(*parts.LAYERS))]


def _granite_hybrid(fields: Fields) -> Sequence[Layer]:
    """Granite 4: Mamba 2 and attention in turn, each followed by experts and a shared one."""
    n_layers = fields.need(*parts.LAYERS)
    kinds = attention_kinds(fields, n_layers)
    state = mamba2(fields)
    feed = _granite_feed_forward(fields)
    return [
        Layer(state if kind in {"mamba", _LINEAR} else attention_of(fields, FULL), feed)
        for kind in kinds
    ]


def _granite_feed_forward(fields: Fields) -> FeedForward:
    if parts.n_experts(fields):
        return parts.experts(fields)
    return Dense(fields.number("shared_intermediate_size") or fields.need("intermediate_size"))


def _bamba(fields: Fields) -> Sequence[Layer]:
    attention = {int(i) for i in fields.listing("attn_layer_indices")}
    state, feed = mamba2(fields), parts.dense(fields)
    return [
        Layer(attention_of(fields, FULL) if i in attention else state, feed)
        for i in range(fields.need(*parts.LAYERS))
    ]


def _falcon_h1(fields: Fields) -> Sequence[Layer]:
    """Both mixers run side by side in every layer; here they stand one after the other."""
    pair = (
        Layer(mamba2(fields), None, norms=1),
        Layer(attention_of(fields, FULL), parts.dense(fields), norms=1),
    )
    fields.note("Falcon-H1: each layer counts as two, one for its Mamba and one for its attention")
    return pair * fields.need(*parts.LAYERS)


def _nemotron_h(fields: Fields) -> Sequence[Layer]:
    """Each layer is one thing: M Mamba 2, * attention, - feed-forward, E experts."""
    pattern = str(fields.get("hybrid_override_pattern", default=""))
    kinds = [str(kind) for kind in fields.listing("layers_block_type", "layer_types")]
    kinds = kinds or list(pattern)
    if not kinds:
        fields.missing.append("hybrid_override_pattern")
    return [_nemotron_layer(fields, kind) for kind in kinds]


def _nemotron_layer(fields: Fields, kind: str) -> Layer:
    if kind in {"M", "mamba", "mamba2", _LINEAR}:
        return Layer(mamba2(fields), None, norms=1)
    if kind in {"*", "attention", FULL}:
        return Layer(attention_of(fields, FULL), None, norms=1)
    if kind in {"E", "moe"}:
        return Layer(None, _nemotron_experts(fields), norms=1)
    return Layer(None, replace(parts.dense(fields), gated=False), norms=1)


def _nemotron_experts(fields: Fields) -> Experts:
    return replace(parts.experts(fields), gated=False, router_bias=True)


def _lfm2(fields: Fields) -> Sequence[Layer]:
    n_layers = fields.need(*parts.LAYERS)
    kinds = attention_kinds(fields, n_layers)
    chosen = {int(i) for i in fields.listing("full_attn_idxs")}
    sparse = expert_layers(fields, n_layers) if parts.n_experts(fields) else [False] * n_layers
    return [
        Layer(
            short_conv(fields) if _is_conv(kind, i, chosen) else attention_of(fields, FULL),
            parts.experts(fields) if sparse[i] else Dense(_lfm2_width(fields)),
        )
        for i, kind in enumerate(kinds)
    ]


def _is_conv(kind: str, i: int, chosen: set[int]) -> bool:
    return i not in chosen if chosen else kind == "conv"


def _lfm2_width(fields: Fields) -> int:
    """LFM2 may ask for two thirds of the given width, rounded up."""
    width = fields.need("block_ff_dim", "intermediate_size")
    if not fields.flag("block_auto_adjust_ff_dim"):
        return width
    width = int(2 * width / 3 * float(fields.get("block_ffn_dim_multiplier", default=1.0)))
    step = fields.number("block_multiple_of", default=256)
    return -(-width // step) * step


_JAMBA = {
    "no_rope": True,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}
_NEMOTRON_H = {"no_rope": True, "num_experts_per_tok": 1, "head_dim": 128}
_KIMI_LINEAR = {
    "q_lora_rank": None,
    "no_rope": True,
    "first_k_dense_replace": 0,
    "topk_method": "noaux_tc",
}
_GRANITE_HYBRID = {"tie_word_embeddings": True, "position_embedding_type": "nope"}

FAMILIES: dict[str, Family] = {
    "Qwen3NextForCausalLM": Family({**_QWEN_NEXT, "moe_intermediate_size": 512}, _qwen_next),
    "Qwen3_5ForCausalLM": Family(_QWEN_NEXT, _qwen_next),
    "Qwen3_5MoeForCausalLM": Family(_QWEN_NEXT, _qwen_next),
    "KimiLinearForCausalLM": Family(_KIMI_LINEAR, _kimi_linear),
    "KimiK3ForConditionalGeneration": Family(_KIMI_LINEAR, _kimi_linear, tower=moonvit),
    "MiniMaxText01ForCausalLM": Family({}, _minimax_text),
    "MiniMaxM1ForCausalLM": Family({}, _minimax_text),
    "MiniMaxForCausalLM": Family({}, _minimax_text),
    "JambaForCausalLM": Family(_JAMBA, _jamba),
    "MambaForCausalLM": Family({"no_rope": True, "tie_word_embeddings": True}, _mamba),
    "FalconMambaForCausalLM": Family({"no_rope": True, "tie_word_embeddings": True}, _mamba),
    "Mamba2ForCausalLM": Family({"no_rope": True, "tie_word_embeddings": False}, _mamba_2),
    "GraniteMoeHybridForCausalLM": Family(_GRANITE_HYBRID, _granite_hybrid),
    "BambaForCausalLM": Family({"partial_rotary_factor": 0.5}, _bamba),
    "FalconH1ForCausalLM": Family({}, _falcon_h1),
    "NemotronHForCausalLM": Family(_NEMOTRON_H, _nemotron_h),
    "Lfm2ForCausalLM": Family({"tie_word_embeddings": True, "qk_norm": True}, _lfm2),
    "Lfm2MoeForCausalLM": Family({"tie_word_embeddings": True, "qk_norm": True}, _lfm2),
}
