"""A family of models: what its config class defaults to, and how its layers are made of parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from placement.models import parts
from placement.models.facts import (
    Attention,
    Dense,
    Experts,
    FeedForward,
    LatentAttention,
    Layer,
    Tower,
    Weight,
)
from placement.models.fields import Fields
from placement.models.patterns import CHUNKED, SLIDING, attention_kinds, expert_layers, window

TowerReader = Callable[[Mapping[str, Any], int], Tower]


def decoder(fields: Fields) -> Sequence[Layer]:
    """The common shape: every layer has attention, and a feed-forward part or experts."""
    n_layers = fields.need(*parts.LAYERS)
    kinds = attention_kinds(fields, n_layers)
    sparse = expert_layers(fields, n_layers) if parts.n_experts(fields) else [False] * n_layers
    norms = layer_norms(fields)
    return [
        Layer(attention_of(fields, kind), feed_forward(fields, has_experts), norms=norms)
        for kind, has_experts in zip(kinds, sparse, strict=True)
    ]


def attention_of(fields: Fields, kind: str) -> Attention | LatentAttention:
    if fields.get("kv_lora_rank"):
        return parts.latent_attention(fields)
    chunk = fields.get("attention_chunk_size") if kind == CHUNKED else None
    return parts.attention(fields, window(fields) if kind == SLIDING else None, chunk)


def feed_forward(fields: Fields, has_experts: bool) -> FeedForward:
    return experts(fields) if has_experts else dense(fields)


def experts(fields: Fields) -> Experts:
    return parts.experts(fields)


def dense(fields: Fields) -> Dense:
    return parts.dense(fields, fields.get("intermediate_size_mlp", "dense_intermediate_size"))


def layer_norms(fields: Fields) -> int:
    """Vectors of the hidden size that a layer's norms hold."""
    norms = 1 if fields.flag("one_norm_per_layer") else fields.number("norms_per_layer", default=2)
    return norms * norm_vectors(fields)


def norm_vectors(fields: Fields) -> int:
    """2 for layer norms with a bias, 1 for a scale alone, 0 for norms without weights."""
    return fields.number("norm_vectors", default=2 if fields.flag("all_bias") else 1)


def no_extras(fields: Fields) -> tuple[Weight, ...]:
    return ()


@dataclass(frozen=True)
class Family:
    """`defaults` stand in for what a config leaves out, as the config's class has it.

    One that `wraps` is a tower in front of any language model, which has a family of its own.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    layers: Callable[[Fields], Sequence[Layer]] = decoder
    extras: Callable[[Fields], tuple[Weight, ...]] = no_extras
    tower: TowerReader | None = None
    note: str = ""
    wraps: bool = False
