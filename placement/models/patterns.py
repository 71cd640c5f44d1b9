"""Which layers are of which kind: sliding or full attention, dense or experts."""

from __future__ import annotations

import re
from typing import Any

from placement.models.fields import Fields

FULL = "full_attention"
SLIDING = "sliding_attention"
CHUNKED = "chunked_attention"
_RATIO = re.compile(r"(\d+)(?:\s*chunked)?\s*:\s*(\d+)")


def attention_kinds(fields: Fields, n_layers: int) -> list[str]:
    """The kind of each layer's attention, as config.json's `layer_types` would name it."""
    listed = fields.listing("layer_types", "attention_types")
    if listed:
        return [_named(listed[i % len(listed)]) for i in range(n_layers)]
    if window(fields):
        return _sliding_kinds(fields, n_layers)
    if fields.get("attention_chunk_size"):
        return _chunked_kinds(fields, n_layers)
    return [FULL] * n_layers


def window(fields: Fields) -> int | None:
    """The sliding window in tokens; None where the model does not use one."""
    if not fields.flag("use_sliding_window", default=True):
        return None
    size = fields.get("sliding_window", "sliding_window_size", "interleaved_sliding_window")
    return size if isinstance(size, int) and size > 0 else None


def _named(kind: Any) -> str:
    text = str(kind)
    if text in {"sliding_window", "sliding", "swa", "local"}:
        return SLIDING
    return {"attention": FULL, "full": FULL, "global": FULL}.get(text, text)


def _sliding_kinds(fields: Fields, n_layers: int) -> list[str]:
    first_sliding = fields.number("max_window_layers")
    pattern = fields.get("sliding_window_pattern", "_sliding_window_pattern")
    if pattern is None and fields.given("max_window_layers") is not None:
        return [SLIDING if i >= first_sliding else FULL for i in range(n_layers)]
    return _by_pattern(pattern, n_layers, SLIDING)


def _chunked_kinds(fields: Fields, n_layers: int) -> list[str]:
    no_rope = fields.listing("no_rope_layers")
    if len(no_rope) >= n_layers:  # 0: no rotary embedding, which Llama 4 gives full attention
        return [CHUNKED if no_rope[i] else FULL for i in range(n_layers)]
    pattern = fields.get("attention_chunk_pattern", default=fields.get("no_rope_layer_interval"))
    return _by_pattern(pattern, n_layers, CHUNKED)


def _by_pattern(pattern: Any, n_layers: int, local: str) -> list[str]:
    """`pattern` is a number (every such layer is full), a ratio ("5:1"), or letters ("LLLG")."""
    if isinstance(pattern, str) and (ratio := _RATIO.match(pattern)):
        period = int(ratio[1]) + int(ratio[2])
        return [local if i % period < int(ratio[1]) else FULL for i in range(n_layers)]
    if isinstance(pattern, str) and pattern:
        return [local if pattern[i % len(pattern)] == "L" else FULL for i in range(n_layers)]
    if isinstance(pattern, int) and pattern > 0:
        return [FULL if (i + 1) % pattern == 0 else local for i in range(n_layers)]
    return [local] * n_layers


def expert_layers(fields: Fields, n_layers: int) -> list[bool]:
    """Whether each layer has experts, by whichever of the ways a config says it."""
    return [_has_experts(fields, i) for i in range(n_layers)]


def _has_experts(fields: Fields, i: int) -> bool:
    if kinds := fields.listing("mlp_layer_types"):
        return str(kinds[i]) == "sparse"
    if frequencies := fields.listing("moe_layer_freq"):
        return bool(frequencies[i])
    if (chosen := _chosen_layers(fields)) is not None:
        return i in chosen
    if i in fields.listing("mlp_only_layers"):
        return False
    return _on_step(fields, i)


def _chosen_layers(fields: Fields) -> set[int] | None:
    if layers := fields.listing("moe_layers"):
        return {int(layer) for layer in layers}
    if text := fields.get("moe_layers_enum"):
        return {int(layer) for layer in str(text).split(",")}
    return None


def _on_step(fields: Fields, i: int) -> bool:
    first = fields.number("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
    last = fields.number("moe_layer_end_index", default=-1)
    if i < first or (last >= 0 and i > last):
        return False
    step = fields.number(
        "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval", default=1
    )
    if step > 1:
        return (i + 1) % step == 0
    return i % max(1, fields.number("moe_layer_freq", default=1)) == 0
