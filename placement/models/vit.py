"""Vision transformers as lists of tensors, and a tower that only common field names tell of."""

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


def sizes(section: Mapping[str, Any], defaults: Mapping[str, int]) -> Callable[..., int]:
    fields = Fields(section, defaults)
    return fields.number


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
            *patches_of(width, patch),
            *Vit(width, intermediate, depth, heads).blocks(),
            *linear("multi_modal_projector.linear_1", hidden, width, "rows", bias=True),
            *linear("multi_modal_projector.linear_2", hidden, hidden, "columns", bias=True),
        ],
        heads,
    )


def vit_of(size: Callable[..., int], skipped: int = 0, extra_vectors: int = 0) -> Vit:
    return Vit(
        size("hidden_size"),
        size("intermediate_size"),
        size("num_hidden_layers") - skipped,
        size("num_attention_heads"),
        extra_vectors=extra_vectors,
    )


def patches_of(width: int, patch: int) -> list[Weight]:
    return [plain("patch_embedding", width, 3 * patch**2), plain("patch_embedding.bias", width)]


def side(section: Mapping[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    return int(value[0]) if isinstance(value, list | tuple) else int(value)
