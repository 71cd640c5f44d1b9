"""Vision towers of one image size, or of a few: what stands in front of a language model.

Where a config says nothing of its tower, the released models' own sizes are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.models.facts import Tower
from placement.models.tower_sizes import CLIP, GEMMA4, INTERN, LLAMA4, PIXTRAL, SO400M
from placement.models.vit import Vit, linear, patches_of, plain, side, sizes, vision, vit_of


def siglip(section: Mapping[str, Any], hidden: int) -> Tower:
    """SigLIP so400m as in Gemma 3: 896 pixels, and a projector without bias."""
    size = sizes(section, SO400M | {"image_size": 896})
    vit = vit_of(size)
    patches = (size("image_size") // size("patch_size")) ** 2
    return vision(
        [
            *patches_of(vit.width, size("patch_size")),
            plain("embeddings.position_embedding", patches, vit.width),
            *vit.blocks(),
            *(plain("post_layernorm", vit.width) for _ in range(2)),
            plain("multi_modal_projector.mm_input_projection_weight", vit.width, hidden),
            plain("multi_modal_projector.mm_soft_emb_norm", vit.width),
        ],
        vit.n_heads,
    )


def pixtral(section: Mapping[str, Any], hidden: int) -> Tower:
    """Pixtral's tower as in Mistral Small 3: four patches are merged before the projector."""
    size = sizes(section, PIXTRAL)
    width = size("hidden_size")
    vit = Vit(
        width,
        size("intermediate_size"),
        size("num_hidden_layers"),
        size("num_attention_heads"),
        gated=True,
        bias=False,
        norm_bias=False,
    )
    merge = size("spatial_merge_size") ** 2
    return vision(
        [
            plain("patch_conv", width, 3 * size("patch_size") ** 2),
            plain("ln_pre", width),
            *vit.blocks(),
            plain("multi_modal_projector.norm", width),
            plain("multi_modal_projector.patch_merger", width, width * merge),
            *linear("multi_modal_projector.linear_1", hidden, width, "rows"),
            *linear("multi_modal_projector.linear_2", hidden, hidden, "columns"),
        ],
        vit.n_heads,
    )


def moonvit(section: Mapping[str, Any], hidden: int) -> Tower:
    """Moonshot's tower, with its two-layer projector over merged patches."""
    size = sizes(section, SO400M | {"init_pos_emb_height": 64, "merge": 2})
    width = size("vt_hidden_size", "hidden_size")
    vit = Vit(
        width,
        size("vt_intermediate_size", "intermediate_size"),
        size("vt_num_hidden_layers", "num_hidden_layers"),
        size("vt_num_attention_heads", "num_attention_heads"),
    )
    merged = width * size("merge") ** 2
    return vision(
        [
            *patches_of(width, size("patch_size")),
            plain("pos_emb", size("init_pos_emb_height") ** 2, width),
            *vit.blocks(),
            *(plain("final_layernorm", width) for _ in range(2)),
            *(plain("multi_modal_projector.pre_norm", width) for _ in range(2)),
            *linear("multi_modal_projector.linear_1", merged, merged, bias=True),
            *linear("multi_modal_projector.linear_2", hidden, merged, bias=True),
        ],
        vit.n_heads,
    )


def llama4_vit(section: Mapping[str, Any], hidden: int) -> Tower:
    size = sizes(section, LLAMA4)
    vit = vit_of(size)
    inner = size("projector_input_dim")
    patches = (size("image_size") // size("patch_size")) ** 2 + 1
    return vision(
        [
            plain("class_embedding", vit.width),
            plain("positional_embedding_vlm", patches, vit.width),
            *linear("vision_tower.patch_embedding", vit.width, 3 * size("patch_size") ** 2, "rows"),
            *(plain("layernorm", vit.width) for _ in range(4)),
            *vit.blocks(),
            *linear("vision_tower.adapter.fc1", inner, size("intermediate_size"), "rows"),
            *linear("vision_tower.adapter.fc2", size("projector_output_dim"), inner, "columns"),
            *linear("multi_modal_projector.linear_1", hidden, size("vision_output_dim"), "rows"),
        ],
        vit.n_heads,
    )


def clip(section: Mapping[str, Any], hidden: int) -> Tower:
    """CLIP-L as in LLaVA; the engine leaves out the last layer, which is not asked for."""
    size = sizes(section, CLIP)
    vit = vit_of(size, skipped=1)
    patches = (size("image_size") // size("patch_size")) ** 2 + 1
    return vision(
        [
            plain("class_embedding", vit.width),
            plain("patch_embedding", vit.width, 3 * size("patch_size") ** 2),
            plain("position_embedding", patches, vit.width),
            *(plain("pre_layrnorm", vit.width) for _ in range(2)),
            *vit.blocks(),
            *linear("multi_modal_projector.linear_1", hidden, vit.width, "rows", bias=True),
            *linear("multi_modal_projector.linear_2", hidden, hidden, "columns", bias=True),
        ],
        vit.n_heads,
    )


def llava_siglip(section: Mapping[str, Any], hidden: int) -> Tower:
    """SigLIP behind LLaVA's projector, as in Granite Vision and LLaVA-OneVision."""
    size = sizes(section, SO400M | {"image_size": 384})
    vit = vit_of(size)
    patches = (size("image_size") // size("patch_size")) ** 2
    features = vit.width * max(1, size("n_feature_layers"))
    return vision(
        [
            *patches_of(vit.width, size("patch_size")),
            plain("embeddings.position_embedding", patches, vit.width),
            *vit.blocks(),
            *(plain("post_layernorm", vit.width) for _ in range(2)),
            *linear("multi_modal_projector.linear_1", hidden, features, "rows", bias=True),
            *linear("multi_modal_projector.linear_2", hidden, hidden, "columns", bias=True),
            plain("image_newline", hidden),
        ],
        vit.n_heads,
    )


def intern_vit(section: Mapping[str, Any], hidden: int) -> Tower:
    size = sizes(section, INTERN)
    vit = vit_of(size, extra_vectors=2)
    patches = (side(section, "image_size", 448) // side(section, "patch_size", 14)) ** 2 + 1
    merged = vit.width * 4
    return vision(
        [
            plain("class_embedding", vit.width),
            *patches_of(vit.width, side(section, "patch_size", 14)),
            plain("position_embedding", patches, vit.width),
            *vit.blocks(),
            *(plain("mlp1.norm", merged) for _ in range(2)),
            *linear("mlp1.1", hidden, merged, bias=True),
            *linear("mlp1.3", hidden, hidden, bias=True),
        ],
        vit.n_heads,
    )


def gemma4_vit(section: Mapping[str, Any], hidden: int) -> Tower:
    """Gemma 4's tower: gated feed-forwards, four norms a block, a table of positions an axis."""
    size = sizes(section, GEMMA4)
    positions = 2 * size("position_embedding_size")
    width = size("hidden_size")
    vit = Vit(
        width,
        size("intermediate_size"),
        size("num_hidden_layers"),
        size("num_attention_heads"),
        gated=True,
        bias=False,
        norm_bias=False,
        extra_vectors=2,
    )
    return vision(
        [
            plain("patch_embedder.input_proj", width, 3 * size("patch_size") ** 2),
            plain("patch_embedder.position_embedding_table", positions, width),
            *vit.blocks(),
            *(plain("std", width) for _ in range(2)),
            plain("embed_vision.embedding_projection", hidden, width),
        ],
        vit.n_heads,
    )
