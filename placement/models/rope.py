"""The tables of cosines and sines that the engine builds at load; no rank divides them.

Each scaling method makes a table of its own length (vllm/model_executor/layers/rotary_embedding).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.models.facts import RopeCache
from placement.models.fields import Fields
from placement.models.parts import head_dim

Parameters = Mapping[str, Any]
# Multimodal positions may run past the context, so the engine makes the table four times as long.
_MROPE_FACTOR = 4
_ROTARY = {"rope", "rotary"}


def rope_caches(fields: Fields, positions: int) -> tuple[RopeCache, ...]:
    """One table for each kind of rotary embedding in the model; equal kinds share theirs."""
    kind = fields.get("position_embedding_type", default="rope")
    if fields.get("no_rope") or fields.get("rotary_dim") == 0 or kind not in _ROTARY:
        return ()
    kinds = _by_kind(fields)
    alike = len(kinds) > 1 and len({str(sorted(each.items())) for each in kinds.values()}) == 1
    return tuple(
        RopeCache(_length(fields, each, positions), rotary_dim(fields, each, kind))
        for kind, each in (list(kinds.items())[:1] if alike else kinds.items())
    )


def rotary_dim(fields: Fields, parameters: Parameters | None = None, kind: str = "") -> int:
    """How many of a head's dimensions are rotated."""
    explicit = fields.get("rotary_dim", "rope_dim", "qk_rope_head_dim")
    if isinstance(explicit, int):
        return explicit
    size = head_dim(fields)
    if kind == "full_attention":
        size = fields.number("global_head_dim", default=size)
    parameters = parameters or {}
    if parameters.get("rope_type") == "proportional":
        return size  # Gemma 4 keeps a place for the dimensions that it leaves unrotated
    names = ("partial_rotary_factor", "rotary_pct", "rope_pct")
    share = parameters.get("partial_rotary_factor") or fields.get(*names, default=1.0)
    return int(size * float(share))


def _by_kind(fields: Fields) -> dict[str, Parameters]:
    """Rotary parameters by kind of layer; "" where all layers have the same."""
    given = fields.section("rope_parameters")
    nested = {kind: each for kind, each in given.items() if isinstance(each, Mapping)}
    if nested:
        return nested
    scaling = given or fields.section("rope_scaling")
    if fields.get("rope_local_base_freq", "swa_rope_theta"):
        return {"full_attention": scaling, "sliding_attention": {"rope_type": "local"}}
    return {"": scaling}


def _length(fields: Fields, parameters: Parameters, positions: int) -> int:
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    factor = float(parameters.get("factor") or 1.0)
    original = _original(fields, parameters, positions)
    if "mrope_section" in parameters:
        positions *= _MROPE_FACTOR
    if kind in {"linear", "dynamic"} and "alpha" not in parameters:
        return int(positions * factor)
    if "yarn" in kind or kind == "deepseek_llama_scaling":
        return int(original * factor)
    if kind in {"longrope", "su"}:
        return original + positions
    return positions


def _original(fields: Fields, parameters: Parameters, positions: int) -> int:
    names = ("original_max_position_embeddings",)
    value = parameters.get(names[0]) or fields.get(*names)
    return int(value) if value else positions
