"""The bytes that weight files hold, divided over ranks by the names of their tensors."""

from __future__ import annotations

import re
from collections import defaultdict

from placement.footprint.settings import Settings
from placement.footprint.storage import itemsize_of
from placement.models.facts import ModelFacts, StoredWeights

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|blk|block)\.(\d+)\.")
_TOWER = re.compile(
    r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|vision|vpm|image_newline|mlp1"
    r"|multi_modal_projector|mm_projector|patch_merger|embed_vision|audio_tower|embed_audio)\."
)
_EMBEDDING = re.compile(r"(embed_tokens|wte|word_embeddings|tok_embeddings|token_embd|embed_in)\.")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.")
_DRAFT = re.compile(r"(^|\.)(mtp|nextn|eh_proj|enorm|hnorm)(\.|$)")
_KEY_VALUE = re.compile(r"\.(k_proj|v_proj|attn_k|attn_v|wk|wv)\.")
_WHOLE = re.compile(
    r"norm|layernorm|ln_|\.gate\.|gate_inp|router|kv_a_proj|q_a_proj|indexer|shared_expert_gate"
    r"|e_score_correction|input_scale|_global_scale|weight_scale_2|\.(wpe|embed_positions)\.|rope"
    r"|per_layer_input_gate|per_layer_projection|altup|laurel|\.(k|v|kv|q)_scale$"
)
_ROW_PARALLEL_BIAS = re.compile(r"(o_proj|out_proj|down_proj|dense|c_proj|fc2|w2)\.bias$")
_FUSED = (
    (re.compile(r"\.experts\.\d+\.(w1|w3|gate_proj|up_proj)\."), ".experts.w13."),
    (re.compile(r"\.experts\.\d+\.(w2|down_proj)\."), ".experts.w2."),
    (re.compile(r"\.(q_proj|k_proj|v_proj|attn_q|attn_k|attn_v)\."), ".qkv_proj."),
    (re.compile(r"\.(gate_proj|up_proj|ffn_gate|ffn_up)\."), ".gate_up_proj."),
    (re.compile(r"\.(q_a_proj|kv_a_proj_with_mqa)\."), ".fused_qkv_a_proj."),
)


def stored_sizes(facts: ModelFacts, settings: Settings, layers: range, rank: int) -> list[int]:
    """Bytes of one rank's tensors, those that the engine fuses added up."""
    assert facts.stored is not None
    sums: dict[str, float] = defaultdict(float)
    for name, size in facts.stored.tensors.items():
        share = _share(facts, settings, name, layers, rank)
        if share:
            sums[_fused(name)] += share * size * _widening(facts, settings, facts.stored, name)
    return [round(size) for size in sums.values()]


def _share(facts: ModelFacts, settings: Settings, name: str, layers: range, rank: int) -> float:
    """The part of a tensor that one rank holds; 0 for those of other ranks."""
    if _DRAFT.search(name) or not _here(facts, settings, name, layers, rank):
        return 0.0
    return _tp_share(facts, settings, name)


def _here(facts: ModelFacts, settings: Settings, name: str, layers: range, rank: int) -> bool:
    first, last = rank == 0, rank == settings.pp - 1
    if _TOWER.search(name):
        return True
    if match := _LAYER.search(name):
        return int(match[1]) in layers
    if _EMBEDDING.search(name):
        return first or (last and facts.tied_embeddings)
    if _HEAD.search(name):
        return last and not facts.tied_embeddings
    return last if "norm" in name else first


def _tp_share(facts: ModelFacts, settings: Settings, name: str) -> float:
    if _WHOLE.search(name) or _ROW_PARALLEL_BIAS.search(name):
        return 1.0
    if _TOWER.search(name):
        return 1 / settings.tp if facts.tower and facts.tower.split else 1.0
    if _KEY_VALUE.search(name):
        return 1 / min(settings.tp, facts.n_kv_heads)
    return 1 / settings.tp


def _fused(name: str) -> str:
    for pattern, to in _FUSED:
        name = pattern.sub(to, name)
    return name


def _widening(facts: ModelFacts, settings: Settings, stored: StoredWeights, name: str) -> float:
    """Plain weights are cast to the engine's dtype at load."""
    itemsize = stored.itemsizes.get(name)
    if facts.quantization is not None or not itemsize:
        return 1.0
    return itemsize_of(facts, settings) / itemsize
