"""Vision-language models: a text family, and the tower in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from placement.models.facts import Tower
from placement.models.families import dense, hybrid, mixture
from placement.models.families.base import Family, TowerReader
from placement.models.towers import clip, intern_vit, llava_siglip, pixtral
from placement.models.video_towers import glm4v_vit, qwen_vit

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


def _wrapper(tower: TowerReader) -> Family:
    return Family(tower=tower, wraps=True)


def _front(family: Family, tower: TowerReader, **defaults: Any) -> Family:
    return replace(family, defaults={**family.defaults, **defaults}, tower=tower)


_QWEN2 = dense.QWEN2
_BIAS = dense.QWEN2.defaults
_QWEN3_MOE = mixture.FAMILIES["Qwen3MoeForCausalLM"]
_QWEN3_5 = hybrid.FAMILIES["Qwen3_5ForCausalLM"]
_GLM4V = dense.FAMILIES["Glm4ForCausalLM"]
_GLM4V_MOE = mixture.FAMILIES["Glm4MoeForCausalLM"]

FAMILIES: dict[str, Family] = {
    "Mistral3ForConditionalGeneration": _wrapper(pixtral),
    "PixtralForConditionalGeneration": _wrapper(pixtral),
    "LlavaForConditionalGeneration": _wrapper(_llava),
    "LlavaNextForConditionalGeneration": _wrapper(_llava),
    "LlavaOnevisionForConditionalGeneration": replace(_wrapper(llava_siglip), defaults=_BIAS),
    "Qwen2VLForConditionalGeneration": _front(_QWEN2, _qwen2, **_MROPE),
    "Qwen2_5_VLForConditionalGeneration": _front(_QWEN2, _qwen2_5, **_MROPE),
    "Qwen3VLForConditionalGeneration": _front(dense.QWEN3, _qwen3, **_MROPE),
    "Qwen3VLMoeForConditionalGeneration": _front(_QWEN3_MOE, _qwen3, **_MROPE),
    "Qwen3_5ForConditionalGeneration": _front(_QWEN3_5, _qwen3, **_MROPE),
    "Qwen3_5MoeForConditionalGeneration": _front(_QWEN3_5, _qwen3, **_MROPE),
    "InternVLChatModel": _wrapper(intern_vit),
    "Qwen2_5OmniModel": _front(_QWEN2, _qwen2_5, **_MROPE),
    "Qwen2_5OmniForConditionalGeneration": _front(_QWEN2, _qwen2_5, **_MROPE),
    "Qwen3OmniMoeForConditionalGeneration": _front(_QWEN3_MOE, _qwen3, **_MROPE),
    "Glm4vForConditionalGeneration": _front(_GLM4V, glm4v_vit, **_MROPE),
    "Glm4vMoeForConditionalGeneration": _front(_GLM4V_MOE, glm4v_vit, **_MROPE),
}
