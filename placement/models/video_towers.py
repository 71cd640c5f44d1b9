"""Vision towers that take images of any size and video, and merge neighbouring patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.models.facts import Tower, Weight
from placement.models.fields import Fields
from placement.models.tower_sizes import GLM4V, QWEN
from placement.models.vit import Vit, linear, plain, sizes, vision


def qwen_vit(section: Mapping[str, Any], hidden: int, version: str) -> Tower:
    """Qwen's towers: 2 and 3 have two-matrix feed-forwards, 2.5 gated ones and plain norms."""
    size = sizes(section, QWEN[version])
    width = size("embed_dim", "hidden_size") if version == "2" else size("hidden_size")
    given = Fields(section).number("hidden_size" if version == "2" else "out_hidden_size")
    out = given or hidden
    ratio = size("mlp_ratio")
    vit = Vit(
        width,
        width * ratio if ratio else size("intermediate_size"),
        size("depth"),
        size("num_heads"),
        gated=version == "2.5",
        norm_bias=version != "2.5",
    )
    merged = width * size("spatial_merge_size") ** 2
    patch = 3 * size("temporal_patch_size") * size("patch_size") ** 2
    start = [plain("patch_embed.proj", width, patch)]
    if version == "3":
        start.append(plain("patch_embed.bias", width))
        start.append(plain("pos_embed", size("num_position_embeddings"), width))
    deep = Fields(section).listing("deepstack_visual_indexes")
    norms = 1 if version == "2.5" else 2
    return vision(
        [
            *start,
            *vit.blocks(),
            *_merger("merger", merged, out, width, norms),
            *(w for i in deep for w in _merger(f"deepstack.{i}", merged, out, merged, norms)),
        ],
        vit.n_heads,
    )


def glm4v_vit(section: Mapping[str, Any], hidden: int) -> Tower:
    size = sizes(section, GLM4V)
    width, out = size("hidden_size"), size("out_hidden_size") or hidden
    depth, heads, inner = size("depth"), size("num_heads"), size("intermediate_size")
    vit = Vit(width, out, depth, heads, gated=True, bias=False, norm_bias=False)
    positions = (size("image_size") // size("patch_size")) ** 2
    patch = 3 * size("temporal_patch_size") * size("patch_size") ** 2
    return vision(
        [
            plain("patch_embed.proj", width, patch),
            plain("patch_embed.bias", width),
            plain("position_embedding", positions, width),
            *vit.blocks(),
            *(plain("layernorm", width) for _ in range(2)),
            plain("downsample", out, width * size("spatial_merge_size") ** 2),
            plain("downsample.bias", out),
            *linear("visual.merger.proj", out, out, "rows"),
            *(plain("merger.norm", out) for _ in range(2)),
            *linear("visual.merger.gate_up_proj", 2 * inner, out, "rows"),
            *linear("visual.merger.down_proj", out, inner, "columns"),
        ],
        heads,
    )


def _merger(name: str, merged: int, out: int, normed: int, norms: int) -> list[Weight]:
    return [
        *(plain(f"{name}.norm", normed) for _ in range(norms)),
        *linear(f"visual.{name}.linear_fc1", merged, merged, "rows", bias=True),
        *linear(f"visual.{name}.linear_fc2", out, merged, "columns", bias=True),
    ]
