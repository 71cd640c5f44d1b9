"""Gemma 1 to 4: tied embeddings, gated feed-forwards, and from 2 on local layers and more norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placement.models import parts
from placement.models.facts import Attention, Dense, FeedForward, Layer, Weight
from placement.models.families.base import Family, decoder
from placement.models.fields import Fields
from placement.models.patterns import SLIDING, attention_kinds, window
from placement.models.towers import gemma4_vit, siglip

_BASE = {"tie_word_embeddings": True, "gated_mlp": True}
_GEMMA2 = {
    **_BASE,
    "norms_per_layer": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "sliding_window_pattern": 2,
}
_GEMMA3_TEXT = {
    **_BASE,
    "norms_per_layer": 4,
    "qk_norm": True,
    "head_dim": 256,
    "vocab_size": 262208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "rope_local_base_freq": 10000.0,
}
# The released models from 4B up stretch their global layers' positions by eight.
_GEMMA3 = {
    **_GEMMA3_TEXT,
    "sliding_window": 1024,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
}
_GEMMA3N = {
    **_BASE,
    "norms_per_layer": 5,
    "qk_norm": True,
    "head_dim": 256,
    "hidden_size": 2048,
    "num_hidden_layers": 35,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 16384,
    "vocab_size": 262400,
    "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "max_position_embeddings": 32768,
    "altup_num_inputs": 4,
    "laurel_rank": 64,
    "num_kv_shared_layers": 15,
    "sliding_window": 512,
    "sliding_window_pattern": 5,
    "rope_local_base_freq": 10000.0,
}
_GEMMA4 = {
    **_BASE,
    "norms_per_layer": 4,
    "qk_norm": True,
    "head_dim": 256,
    "global_head_dim": 512,
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
    "max_position_embeddings": 131072,
    "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25},
        "sliding_attention": {"rope_type": "default"},
    },
}


def _gemma3n(fields: Fields) -> Sequence[Layer]:
    layers = decoder(fields)
    first_shared = len(layers) - fields.number("num_kv_shared_layers")
    widths = fields.listing("intermediate_size")
    return [
        replace(
            layer,
            mixer=_shared(layer, i >= first_shared),
            feed_forward=Dense(int(widths[i])) if widths else layer.feed_forward,
            extra=_gemma3n_extra(fields),
        )
        for i, layer in enumerate(layers)
    ]


def _shared(layer: Layer, shares: bool) -> Attention:
    assert isinstance(layer.mixer, Attention)
    return replace(layer.mixer, shares_cache=shares)


def _gemma3n_extra(fields: Fields) -> tuple[Weight, ...]:
    """Alternating updates, the learned augmented residual, and the per-layer input's gate."""
    hidden, inputs = fields.need(*parts.HIDDEN), fields.number("altup_num_inputs")
    rank, per_layer = fields.number("laurel_rank"), fields.number("hidden_size_per_layer_input")
    return (
        Weight("altup.correction_coefs", inputs, inputs),
        Weight("altup.prediction_coefs", inputs**2, inputs),
        Weight("altup.modality_router", inputs, hidden),
        Weight("altup.router_norm", hidden),
        Weight("altup.correct_output_scale", hidden),
        Weight("laurel.linear_left", rank, hidden, linear=True),
        Weight("laurel.linear_right", hidden, rank, linear=True),
        Weight("laurel.post_laurel_norm", hidden),
        Weight("per_layer_input_gate", per_layer, hidden, linear=True),
        Weight("per_layer_projection", hidden, per_layer, linear=True),
    )


def _gemma3n_model(fields: Fields) -> tuple[Weight, ...]:
    hidden = fields.need(*parts.HIDDEN)
    inputs = fields.number("altup_num_inputs") - 1
    one = Weight("altup_projections", hidden, hidden, "rows", linear=True)
    return (*_per_layer_inputs(fields), *(one for _ in range(2 * inputs)))


def _per_layer_inputs(fields: Fields) -> tuple[Weight, ...]:
    """A second table of embeddings, with an entry for every layer."""
    per_layer = fields.number("hidden_size_per_layer_input")
    if not per_layer:
        return ()
    width, hidden = per_layer * fields.need(*parts.LAYERS), fields.need(*parts.HIDDEN)
    vocab = fields.number("vocab_size_per_layer_input", default=fields.need("vocab_size"))
    return (
        Weight("embed_tokens_per_layer", vocab, width, "rows"),
        Weight("per_layer_model_projection", width, hidden, "rows", linear=True),
        Weight("per_layer_projection_norm", per_layer),
    )


def _gemma4(fields: Fields) -> Sequence[Layer]:
    n_layers = fields.need(*parts.LAYERS)
    kinds = attention_kinds(fields, n_layers)
    first_shared = n_layers - fields.number("num_kv_shared_layers")
    return [_gemma4_layer(fields, kind, i >= first_shared) for i, kind in enumerate(kinds)]


def _gemma4_layer(fields: Fields, kind: str, shares: bool) -> Layer:
    moe = fields.flag("enable_moe_block") and parts.n_experts(fields) > 0
    per_layer = fields.number("hidden_size_per_layer_input")
    norms = 4 + (3 if moe else 0) + (1 if per_layer else 0)
    return Layer(
        _gemma4_attention(fields, kind, shares),
        _gemma4_feed_forward(fields, moe, shares),
        norms=norms,
        extra=_gemma4_extra(fields, moe, per_layer),
    )


def _gemma4_attention(fields: Fields, kind: str, shares: bool) -> Attention:
    plain = parts.attention(fields, window(fields) if kind == SLIDING else None)
    if kind == SLIDING:
        return replace(plain, shares_cache=shares)
    size = fields.number("global_head_dim", default=plain.head_dim)
    alternative = fields.flag("attention_k_eq_v")
    heads = fields.number("num_global_key_value_heads", default=plain.n_kv_heads)
    return replace(
        plain,
        n_kv_heads=heads if alternative else plain.n_kv_heads,
        head_dim=size,
        v_head_dim=size,
        k_is_v=alternative,
        shares_cache=shares,
    )


def _gemma4_feed_forward(fields: Fields, moe: bool, shares: bool) -> FeedForward:
    wide = fields.flag("use_double_wide_mlp") and shares
    dense = Dense(fields.need("intermediate_size") * (2 if wide else 1))
    if not moe:
        return dense
    routed = parts.experts(fields)
    return replace(routed, dense=dense, shared_size=0)


def _gemma4_extra(fields: Fields, moe: bool, per_layer: int) -> tuple[Weight, ...]:
    hidden = fields.need(*parts.HIDDEN)
    router = (
        (Weight("router.scale", hidden), Weight("router.per_expert_scale", parts.n_experts(fields)))
        if moe
        else ()
    )
    gate = (
        (
            Weight("per_layer_input_gate", per_layer, hidden, linear=True),
            Weight("per_layer_projection", hidden, per_layer, linear=True),
        )
        if per_layer
        else ()
    )
    return router + gate


_GEMMA4_FAMILY = Family(_GEMMA4, _gemma4, _per_layer_inputs)
FAMILIES: dict[str, Family] = {
    "GemmaForCausalLM": Family({**_BASE, "head_dim": 256}),
    "Gemma2ForCausalLM": Family(_GEMMA2),
    "Gemma3ForCausalLM": Family(_GEMMA3_TEXT),
    "Gemma3ForConditionalGeneration": Family(_GEMMA3, tower=siglip),
    "Gemma3nForCausalLM": Family(_GEMMA3N, _gemma3n, _gemma3n_model),
    "Gemma3nForConditionalGeneration": Family(
        _GEMMA3N,
        _gemma3n,
        _gemma3n_model,
        note="the vision and audio towers of Gemma 3n (about 1 GiB) are not counted",
    ),
    "Gemma4ForCausalLM": _GEMMA4_FAMILY,
    "Gemma4UnifiedForConditionalGeneration": _GEMMA4_FAMILY,
    "Gemma4ForConditionalGeneration": Family(_GEMMA4, _gemma4, _per_layer_inputs, gemma4_vit),
}
