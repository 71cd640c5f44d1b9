"""GGUF files of released models for a plan: whole headers, and no weights behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.placement.models.files import gguf

_F32, _Q8_0, _Q4_K, _Q6_K = 0, 8, 12, 14


@dataclass(frozen=True)
class Shape:
    """`experts`, where there are any, is how many there are, at work, and wide."""

    kind: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    width: int
    context: int
    head_dim: int = 128
    vocab: int = 151936
    experts: tuple[int, int, int] | None = None
    tied: bool = False


SHAPES = {
    "Qwen2.5-Coder-32B-Instruct": Shape("qwen2", 5120, 64, 40, 8, 27648, 32768, vocab=152064),
    "DeepSeek-R1-Distill-Qwen-32B": Shape("qwen2", 5120, 64, 40, 8, 27648, 131072, vocab=152064),
    "Qwen3-8B": Shape("qwen3", 4096, 36, 32, 8, 12288, 40960),
    "Qwen3-Embedding-0.6B": Shape("qwen3", 1024, 28, 16, 8, 3072, 32768, vocab=151669, tied=True),
    **dict.fromkeys(
        (
            "Qwen3-Coder-30B-A3B-Instruct",
            "Qwen3-30B-A3B-Instruct-2507",
            "Qwen3-30B-A3B-Thinking-2507",
        ),
        Shape("qwen3moe", 2048, 48, 32, 4, 6144, 262144, experts=(128, 8, 768)),
    ),
}


def write(file: Path, shape: Shape, quant: str) -> Path:
    """`quant` is Q8_0, or Q4_K_M with llama.cpp's mix of types (src/llama-quant.cpp)."""
    mix = {"Q8_0": (_Q8_0, _Q8_0), "Q4_K_M": (_Q4_K, _Q6_K)}[quant]
    gguf(file, _metadata(shape), _tensors(shape, *mix))
    return file


def _metadata(shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = {
        "block_count": shape.layers,
        "embedding_length": shape.hidden,
        "feed_forward_length": shape.width,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "context_length": shape.context,
        "vocab_size": shape.vocab,
    }
    if shape.experts:
        names = ("expert_count", "expert_used_count", "expert_feed_forward_length")
        found |= dict(zip(names, shape.experts, strict=True))
    named = {f"{shape.kind}.{key}": value for key, value in found.items()}
    return {"general.architecture": shape.kind, **named}


def _tensors(shape: Shape, usual: int, finer: int) -> dict[str, tuple[int, list[int]]]:
    found = {
        # It is the output, too, where the two are tied.
        "token_embd.weight": (finer if shape.tied else usual, [shape.hidden, shape.vocab]),
        "output_norm.weight": (_F32, [shape.hidden]),
    }
    if not shape.tied:
        found["output.weight"] = (finer, [shape.hidden, shape.vocab])
    for i in range(shape.layers):
        kinds = (usual, finer if _gets_more(i, shape.layers) else usual)
        found |= {f"blk.{i}.{name}": each for name, each in _layer(shape, *kinds).items()}
    return found


def _gets_more(i: int, n: int) -> bool:
    """llama.cpp's use_more_bits: the first and last eighth of the layers, and every third one."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def _layer(shape: Shape, usual: int, finer: int) -> dict[str, tuple[int, list[int]]]:
    hidden, q = shape.hidden, shape.heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    return {
        "attn_norm.weight": (_F32, [hidden]),
        "ffn_norm.weight": (_F32, [hidden]),
        "attn_q.weight": (usual, [hidden, q]),
        "attn_k.weight": (usual, [hidden, kv]),
        "attn_v.weight": (finer, [hidden, kv]),
        "attn_output.weight": (usual, [q, hidden]),
        **_feed_forward(shape, usual, finer),
    }


def _feed_forward(shape: Shape, usual: int, finer: int) -> dict[str, tuple[int, list[int]]]:
    hidden = shape.hidden
    if shape.experts is None:
        return {
            "ffn_gate.weight": (usual, [hidden, shape.width]),
            "ffn_up.weight": (usual, [hidden, shape.width]),
            "ffn_down.weight": (finer, [shape.width, hidden]),
        }
    count, _, width = shape.experts
    return {
        "ffn_gate_inp.weight": (_F32, [hidden, count]),
        "ffn_gate_exps.weight": (usual, [hidden, width, count]),
        "ffn_up_exps.weight": (usual, [hidden, width, count]),
        "ffn_down_exps.weight": (finer, [width, hidden, count]),
    }
