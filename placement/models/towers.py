"""Vision towers: what stands in front of a language model, tensor by tensor.

Where a config says nothing of its tower, the released models' own sizes are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from placement.models.facts import Tower, Weight
from placement.models.fields import Fields


@dataclass(frozen=True)
class Vit:
    """A vision transformer. `inner` is the width of its attention, mostly that of the model."""

    width: int
    intermediate: int
    depth: int
    n_heads: int
    inner: int = 0
    gated: bool = False
    bias: bool = True
    norm_bias: bool = True
    extra_vectors: int = 0  # further vectors of the width in every block

    def blocks(self) -> list[Weight]:
        return [weight for i in range(self.depth) for weight in self._block(i)]

    def _block(self, i: int) -> list[Weight]:
        at = f"vision_tower.layers.{i}"
        inner = self.inner or self.width
        up = self.intermediate * (2 if self.gated else 1)
        norms = 2 * (2 if self.norm_bias else 1) + self.extra_vectors
        return [
            *linear(f"{at}.self_attn.qkv_proj", 3 * inner, self.width, "rows", bias=self.bias),
            *linear(f"{at}.self_attn.out_proj", self.width, inner, "columns", bias=self.bias),
            *linear(f"{at}.mlp.fc1", up, self.width, "rows", bias=self.bias),
            *linear(f"{at}.mlp.fc2", self.width, self.intermediate, "columns", bias=self.bias),
            *(Weight(f"{at}.norm", self.width) for _ in range(norms)),
        ]


def linear(
    name: str, rows: int, columns: int, split: Any = None, *, bias: bool = False
) -> list[Weight]:
    """A linear layer's weight, and its bias, which is split with the outputs."""
    weight = Weight(f"{name}.weight", rows, columns, split, linear=True)
    along = split if split == "rows" else None
    return [weight, Weight(f"{name}.bias", rows, 1, along)] if bias else [weight]


def plain(name: str, rows: int, columns: int = 1) -> Weight:
    return Weight(f"vision_tower.{name}", rows, columns)


def vision(weights: list[Weight], n_heads: int) -> Tower:
    total = sum(weight.params for weight in weights)
    return Tower("vision", total, n_heads, weights=tuple(weights))


def _sizes(section: Mapping[str, Any], defaults: Mapping[str, int]) -> Callable[..., int]:
    fields = Fields(section, defaults)
    return fields.number


def siglip(section: Mapping[str, Any], hidden: int) -> Tower:
    """SigLIP so400m as in Gemma 3: 896 pixels, and a projector without bias."""
    size = _sizes(section, _SO400M | {"image_size": 896})
    vit = _vit(size)
    patches = (size("image_size") // size("patch_size")) ** 2
    return vision(
        [
            *_patches(vit.width, size("patch_size")),
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
    size = _sizes(section, _PIXTRAL)
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
    size = _sizes(section, _SO400M | {"init_pos_emb_height": 64, "merge": 2})
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
            *_patches(width, size("patch_size")),
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
    size = _sizes(section, _LLAMA4)
    vit = _vit(size)
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


def qwen_vit(section: Mapping[str, Any], hidden: int, version: str) -> Tower:
    """Qwen's towers: 2 and 3 have two-matrix feed-forwards, 2.5 gated ones and plain norms."""
    size = _sizes(section, _QWEN[version])
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


def clip(section: Mapping[str, Any], hidden: int) -> Tower:
    """CLIP-L as in LLaVA; the engine leaves out the last layer, which is not asked for."""
    size = _sizes(section, _CLIP)
    vit = _vit(size, skipped=1)
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
    size = _sizes(section, _SO400M | {"image_size": 384})
    vit = _vit(size)
    patches = (size("image_size") // size("patch_size")) ** 2
    features = vit.width * max(1, size("n_feature_layers"))
    return vision(
        [
            *_patches(vit.width, size("patch_size")),
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
    size = _sizes(section, _INTERN)
    vit = _vit(size, extra_vectors=2)
    patches = (_side(section, "image_size", 448) // _side(section, "patch_size", 14)) ** 2 + 1
    merged = vit.width * 4
    return vision(
        [
            plain("class_embedding", vit.width),
            *_patches(vit.width, _side(section, "patch_size", 14)),
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
    size = _sizes(section, _GEMMA4)
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


def glm4v_vit(section: Mapping[str, Any], hidden: int) -> Tower:
    size = _sizes(section, _GLM4V)
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


def generic_tower(section: Mapping[str, Any], hidden: int) -> Tower | None:
    """A tower that only its common field names tell of; None where they do not suffice."""
    fields = Fields(section)
    width, depth = (
        fields.number("hidden_size", "width"),
        fields.number("num_hidden_layers", "depth", "layers"),
    )
    intermediate = fields.number("intermediate_size") or 4 * width
    if not (width and depth):
        return None
    heads = fields.number("num_attention_heads", "num_heads", "heads", default=16)
    patch = fields.number("patch_size", default=14)
    return vision(
        [
            *_patches(width, patch),
            *Vit(width, intermediate, depth, heads).blocks(),
            *linear("multi_modal_projector.linear_1", hidden, width, "rows", bias=True),
            *linear("multi_modal_projector.linear_2", hidden, hidden, "columns", bias=True),
        ],
        heads,
    )


def _vit(size: Callable[..., int], skipped: int = 0, extra_vectors: int = 0) -> Vit:
    return Vit(
        size("hidden_size"),
        size("intermediate_size"),
        size("num_hidden_layers") - skipped,
        size("num_attention_heads"),
        extra_vectors=extra_vectors,
    )


def _patches(width: int, patch: int) -> list[Weight]:
    return [plain("patch_embedding", width, 3 * patch**2), plain("patch_embedding.bias", width)]


def _merger(name: str, merged: int, out: int, normed: int, norms: int) -> list[Weight]:
    return [
        *(plain(f"{name}.norm", normed) for _ in range(norms)),
        *linear(f"visual.{name}.linear_fc1", merged, merged, "rows", bias=True),
        *linear(f"visual.{name}.linear_fc2", out, merged, "columns", bias=True),
    ]


def _side(section: Mapping[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    return int(value[0]) if isinstance(value, list | tuple) else int(value)


_SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}
_PIXTRAL = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
}
_LLAMA4 = {
    "hidden_size": 1408,
    "intermediate_size": 5632,
    "num_hidden_layers": 34,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 336,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
    "vision_output_dim": 4096,
}
_CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 336,
}
_INTERN = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_GEMMA4 = _SO400M | {"patch_size": 16, "position_embedding_size": 10240}
_GLM4V = {
    "hidden_size": 1536,
    "intermediate_size": 13696,
    "depth": 24,
    "num_heads": 12,
    "patch_size": 14,
    "image_size": 336,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}
_QWEN_COMMON = {
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_heads": 16,
}
_QWEN = {
    "2": _QWEN_COMMON | {"embed_dim": 1280, "depth": 32, "mlp_ratio": 4},
    "2.5": _QWEN_COMMON | {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32},
    "3": _QWEN_COMMON
    | {
        "patch_size": 16,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "depth": 27,
        "num_position_embeddings": 2304,
    },
}
