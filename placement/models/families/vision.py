"""Vision-language models: a text family, and the tower in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from placement.models.facts import Tower
from placement.models.families import dense, hybrid, mixture
from placement.models.families.base import Family
from placement.models.towers import (
    clip,
    glm4v_vit,
    intern_vit,
    llava_siglip,
    pixtral,
    qwen_vit,
)

_MROPE = {"rope_scaling": {"rope_type": "default", "mrope_section": [16, 24, 24]}}


def _qwen2(section: Mapping[str, Any], hidden: int) -> Tower:
    return qwen_vit(section, hidden, "2")


def _qwen2_5(section: Mapping[str, Any], hidden: int) -> Tower:
    return qwen_vit(section, hidden, "2.5")


def _qwen3(section: Mapping[str, Any], hidden: int) -> Tower:
    return qwen_vit(section, hidden, "3")


def _llava(section: Mapping[str, Any], hidden: int) -> Tower:
    siglip = "siglip" in str(section.get("model_type", ""))
    return llava_siglip(section, hidden) if siglip else clip(section, hidden)


def _front(family: Family, tower: Any, **defaults: Any) -> Family:
    return replace(family, defaults={**family.defaults, **defaults}, tower=tower)


_QWEN2 = dense.QWEN2
_QWEN3_MOE = mixture.FAMILIES["Qwen3MoeForCausalLM"]
_QWEN3_5 = hybrid.FAMILIES["Qwen3_5ForCausalLM"]
_GLM4V = replace(dense.FAMILIES["Glm4ForCausalLM"])
_GLM4V_MOE = mixture.FAMILIES["Glm4MoeForCausalLM"]

FAMILIES: dict[str, Family] = {
    "Mistral3ForConditionalGeneration": _front(dense.LLAMA, pixtral),
    "PixtralForConditionalGeneration": _front(dense.LLAMA, pixtral),
    "LlavaForConditionalGeneration": _front(dense.LLAMA, _llava),
    "LlavaNextForConditionalGeneration": _front(dense.LLAMA, _llava),
    "LlavaOnevisionForConditionalGeneration": _front(_QWEN2, llava_siglip),
    "Qwen2VLForConditionalGeneration": _front(_QWEN2, _qwen2, **_MROPE),
    "Qwen2_5_VLForConditionalGeneration": _front(_QWEN2, _qwen2_5, **_MROPE),
    "Qwen3VLForConditionalGeneration": _front(dense.QWEN3, _qwen3, **_MROPE),
    "Qwen3VLMoeForConditionalGeneration": _front(_QWEN3_MOE, _qwen3, **_MROPE),
    "Qwen3_5ForConditionalGeneration": _front(_QWEN3_5, _qwen3, **_MROPE),
    "Qwen3_5MoeForConditionalGeneration": _front(_QWEN3_5, _qwen3, **_MROPE),
    "InternVLChatModel": _front(dense.LLAMA, intern_vit),
    "Glm4vForConditionalGeneration": _front(_GLM4V, glm4v_vit, **_MROPE),
    "Glm4vMoeForConditionalGeneration": _front(_GLM4V_MOE, glm4v_vit, **_MROPE),
}
