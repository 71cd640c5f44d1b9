"""Writes small weight files for tests: headers are real, the weights zeros."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

SIZES = {"F32": 4, "BF16": 2, "F16": 2, "I32": 4, "U8": 1, "F8_E4M3": 1}
_KINDS = {int: 4, float: 6, bool: 7, str: 8}


def safetensors(file: Path, tensors: Mapping[str, tuple[str, list[int]]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


def llama_tensors(
    config: Mapping[str, Any], dtype: str = "BF16"
) -> dict[str, tuple[str, list[int]]]:
    """The tensors of a Llama with tied embeddings, named as its checkpoints name them."""
    hidden, width = config["hidden_size"], config["intermediate_size"]
    size = hidden // config["num_attention_heads"]
    kv = config["num_key_value_heads"] * size
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden]}
    for i in range(config["num_hidden_layers"]):
        at = f"model.layers.{i}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": [hidden, hidden],
            f"{at}.self_attn.k_proj.weight": [kv, hidden],
            f"{at}.self_attn.v_proj.weight": [kv, hidden],
            f"{at}.self_attn.o_proj.weight": [hidden, hidden],
            f"{at}.mlp.gate_proj.weight": [width, hidden],
            f"{at}.mlp.up_proj.weight": [width, hidden],
            f"{at}.mlp.down_proj.weight": [hidden, width],
            f"{at}.input_layernorm.weight": [hidden],
            f"{at}.post_attention_layernorm.weight": [hidden],
        }
    shapes["model.norm.weight"] = [hidden]
    return {name: (dtype, shape) for name, shape in shapes.items()}


TINY: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}


def model_folder(folder: Path, config: Mapping[str, Any] = TINY, dtype: str = "BF16") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors(folder / "model.safetensors", llama_tensors(config, dtype))
    return folder


def gguf(
    file: Path, metadata: Mapping[str, Any], tensors: Mapping[str, tuple[int, list[int]]]
) -> None:
    """`tensors` are GGML's type numbers and shapes."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), _value(value)]
    for name, (kind, shape) in tensors.items():
        parts += [
            _text(name),
            struct.pack("<I", len(shape)),
            struct.pack(f"<{len(shape)}Q", *shape),
        ]
        parts.append(struct.pack("<IQ", kind, 0))
    file.write_bytes(b"".join(parts))


def _value(value: Any) -> bytes:
    if isinstance(value, list):
        kind = _KINDS[type(value[0])]
        body = b"".join(_plain(each) for each in value)
        return struct.pack("<IIQ", 9, kind, len(value)) + body
    return struct.pack("<I", _KINDS[type(value)]) + _plain(value)


def _plain(value: Any) -> bytes:
    if isinstance(value, str):
        return _text(value)
    return struct.pack({int: "<I", float: "<f", bool: "<?"}[type(value)], value)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()
