"""From a config.json to ModelFacts. Missing keys take what the family's own config class has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from common.errors import UsageError
from placement.models import parts
from placement.models.facts import DType, Layer, ModelFacts, Quantization, Tower, Weight
from placement.models.families import architecture, family_of
from placement.models.families.base import Family, norm_vectors
from placement.models.fields import Fields, text_values
from placement.models.quantization import quantization_of
from placement.models.rope import rope_caches
from placement.models.schemes import hinted, named
from placement.models.vit import generic_tower

_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_sequence_length",
    "seq_length",
    "max_seq_len",
    "n_ctx",
    "model_max_length",
)
_ASSUMED_POSITIONS = 32768
_DTYPES: dict[str, DType] = {
    "float32": "float32",
    "float": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "half": "float16",
}


def facts_of(config: Mapping[str, Any], name: str = "") -> ModelFacts:
    """Raises UsageError where fields are missing without which nothing can be computed."""
    text = text_values(config)
    kind = _architecture(config, text)
    family = _family(kind, text)
    fields = Fields(text, (family or Family()).defaults)
    if family is None:
        fields.note(f"{kind or 'unnamed'} is not a known architecture: read by common field names")
    facts = _facts(fields, family or Family(), config, kind, name)
    if fields.missing:
        raise UsageError(_missing(fields, kind, name))
    return facts


def _facts(
    fields: Fields, family: Family, config: Mapping[str, Any], kind: str, name: str
) -> ModelFacts:
    layers = tuple(family.layers(fields))
    if not layers and not fields.missing:
        fields.missing.append("num_hidden_layers")
    hidden, positions = fields.need(*parts.HIDDEN), _positions(fields)
    caches = rope_caches(fields, positions) if _has_heads(layers) else ()
    tower = _tower(fields, family, config, hidden)
    extra = (*family.extras(fields), *_positional(fields, positions, hidden))
    if family.note:
        fields.note(family.note)
    return ModelFacts(
        name=name or str(config.get("_name_or_path") or ""),
        architecture=kind,
        hidden_size=hidden,
        vocab_size=fields.need("vocab_size", "padded_vocab_size"),
        layers=layers,
        tied_embeddings=fields.flag("tie_word_embeddings"),
        max_position_embeddings=positions,
        dtype=_dtype(fields),
        rotary_dim=max((cache.rotary_dim for cache in caches), default=0),
        quantization=_quantization(fields, config, name),
        tower=tower,
        lm_head_bias=fields.flag("lm_head_bias"),
        extra_params=sum(weight.params for weight in extra),
        extra=extra,
        rope_caches=caches,
        final_norms=norm_vectors(fields),
        learned_positions=positions if fields.flag("learned_positions") else 0,
        notes=tuple(fields.notes),
    )


def _architecture(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    """The whole model's architecture counts before that of its language model."""
    for values in (config, text):
        listed = values.get("architectures") or values.get("architecture") or []
        names = [listed] if isinstance(listed, str) else [str(each) for each in listed]
        found = architecture(names, str(values.get("model_type") or ""))
        if found and (family_of(found) or values is text):
            return found
    inner = text.get("architectures") or [""]
    return str(inner[0])


def _family(kind: str, text: Mapping[str, Any]) -> Family | None:
    """Behind a tower that goes with any language model, that model's own family counts."""
    family = family_of(kind)
    if family is None or not family.wraps:
        return family
    inner = family_of(architecture([], str(text.get("model_type") or "")))
    return replace(inner, tower=family.tower) if inner and not inner.tower else family


def _positions(fields: Fields) -> int:
    value = fields.number(*_POSITIONS)
    if value:
        return value
    fields.note(f"max_position_embeddings is not given; {_ASSUMED_POSITIONS} assumed")
    return _ASSUMED_POSITIONS


def _dtype(fields: Fields) -> DType:
    said = str(fields.get("dtype", "torch_dtype", default="bfloat16")).removeprefix("torch.")
    return _DTYPES.get(said, "bfloat16")


def _quantization(fields: Fields, config: Mapping[str, Any], name: str) -> Quantization | None:
    """What the config says; where it is silent, what the model's name says."""
    found, method = quantization_of(config), hinted(name)
    if found or not method:
        return found
    fields.note(f"the config tells of no quantization; {method} is taken from the model's name")
    return named(method)


def _positional(fields: Fields, positions: int, hidden: int) -> tuple[Weight, ...]:
    """Learned positions, and OPT's projection between two widths."""
    rows = positions + fields.number("position_offset")
    learned = (Weight("embed_positions", rows, hidden),) if fields.flag("learned_positions") else ()
    width = fields.number("word_embed_proj_dim", default=hidden)
    if width == hidden:
        return learned
    fields.note("the embeddings are narrower than the layers; they are counted at full width")
    return (*learned, Weight("project_in", hidden, width), Weight("project_out", width, hidden))


def _has_heads(layers: tuple[Layer, ...]) -> bool:
    return any(getattr(layer.mixer, "n_heads", 0) for layer in layers)


def _tower(fields: Fields, family: Family, config: Mapping[str, Any], hidden: int) -> Tower | None:
    section = fields.section("vision_config")
    if family.tower:
        return family.tower({**_tower_wide(config), **section}, hidden)
    if fields.section("audio_config"):
        fields.note("the audio tower is not counted")
    if not section:
        return None
    tower = generic_tower(section, hidden)
    if tower is None:
        fields.note("the vision tower is not counted: its config has no common field names")
    else:
        fields.note("the vision tower is counted as an ordinary ViT with a two-layer projector")
    return tower


def _tower_wide(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config says of its tower outside of vision_config."""
    wide = {k: config[k] for k in ("spatial_merge_size",) if k in config}
    feature_layers = config.get("vision_feature_layer")
    if isinstance(feature_layers, list):
        wide["n_feature_layers"] = len(feature_layers)
    return wide


def _missing(fields: Fields, kind: str, name: str) -> str:
    lacking = ", ".join(dict.fromkeys(fields.missing))
    which = f" of {name}" if name else ""
    return (
        f"the config{which} ({kind or 'no architecture given'}) lacks {lacking}, without which its "
        "memory cannot be computed; add the missing fields, or give the whole config.json"
    )
