"""DeciLM and Nemotron-NAS: each layer's width, or its absence, was found by a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from placement.models import parts
from placement.models.facts import Attention, Dense, Layer
from placement.models.families.base import Family, decoder
from placement.models.fields import Fields


def _layers(fields: Fields) -> Sequence[Layer]:
    if heads := fields.listing("num_key_value_heads_per_layer"):
        plain = parts.attention(fields)
        return [Layer(replace(plain, n_kv_heads=int(n)), parts.dense(fields)) for n in heads]
    blocks = fields.listing("block_configs")
    if not blocks:
        if fields.given("intermediate_size"):
            return decoder(fields)
        fields.missing.append("block_configs")
        return []
    return [_block(fields, block) for block in blocks]


def _block(fields: Fields, block: Mapping[str, Any]) -> Layer:
    attention, feed_forward = block.get("attention") or {}, block.get("ffn") or {}
    mixer = (
        None
        if attention.get("no_op") or attention.get("replace_with_linear")
        else _attention(fields, attention)
    )
    dense = None if feed_forward.get("no_op") else Dense(_width(fields, feed_forward))
    return Layer(mixer, dense, norms=(mixer is not None) + (dense is not None))


def _attention(fields: Fields, block: Mapping[str, Any]) -> Attention:
    plain = parts.attention(fields)
    group = int(block.get("n_heads_in_group") or 1)
    return replace(plain, n_kv_heads=max(1, plain.n_heads // group))


def _width(fields: Fields, block: Mapping[str, Any]) -> int:
    """The multiple of the hidden size, two thirds of it, rounded up to 256 (modeling_decilm)."""
    if size := block.get("intermediate_size"):
        return int(size)
    width = int(2 * float(block.get("ffn_mult") or 4) * fields.need(*parts.HIDDEN) / 3)
    return -(-width // 256) * 256


FAMILIES = {
    "DeciLMForCausalLM": Family(layers=_layers),
    "NemotronNASForCausalLM": Family(layers=_layers),
}
