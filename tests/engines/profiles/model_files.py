"""Small real files of models: GGUF by the gguf package, folders as the hub has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.placement.models.files import TINY, llama_tensors, safetensors

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
TOOLS_TEMPLATE = "{% if tools %}{{ tools | tojson }}{% endif %}" + TEMPLATE


def folder(at: Path, card: str = "", template: str | None = None, **config: Any) -> Path:
    """A tiny Llama in bfloat16, with a card and a chat template if wanted."""
    at.mkdir(parents=True, exist_ok=True)
    (at / "config.json").write_text(json.dumps(TINY | config))
    safetensors(at / "model.safetensors", llama_tensors(TINY))
    if card:
        (at / "README.md").write_text(card)
    if template is not None:
        (at / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return at


def gguf_file(
    file: Path, template: str | None = None, file_type: int | None = 2, license_: str = ""
) -> Path:
    """Two layers of a Llama with 64 hidden units, in Q4_0 but for its norms."""
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(2048)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_vocab_size(96)
    if file_type is not None:
        writer.add_file_type(file_type)
    if license_:
        writer.add_license(license_)
    if template is not None:
        writer.add_chat_template(template)
    shapes = {"token_embd": (96, 64), "output": (96, 64)}
    for i in range(2):
        shapes |= {
            f"blk.{i}.attn_q": (64, 64),
            f"blk.{i}.attn_k": (32, 64),
            f"blk.{i}.attn_v": (32, 64),
            f"blk.{i}.attn_output": (64, 64),
            f"blk.{i}.ffn_gate": (128, 64),
            f"blk.{i}.ffn_up": (128, 64),
            f"blk.{i}.ffn_down": (64, 128),
        }
    for name, shape in shapes.items():
        packed = gguf.quants.quantize(
            np.zeros(shape, dtype=np.float32), gguf.GGMLQuantizationType.Q4_0
        )
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("output_norm.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def elements() -> int:
    """Of the tensors of `gguf_file`."""
    layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64
    return 2 * 96 * 64 + 2 * layer + 64
