"""The embedded model from GGUF to Hugging Face format without torch, where only MLX is installed.

For Llama models with a byte-level BPE tokenizer, which the embedded ones are. Run as
`python -m engines.mlx_embedded GGUF FOLDER EOS`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_CONTROL = 3  # GGUF's type of a token that is no text
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
Metadata = Mapping[str, Any]


def convert(gguf: Path, folder: Path, eos_token: str) -> None:
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    arrays, metadata = mx.load(str(gguf), return_metadata=True)
    weights = dict(_weights(arrays, metadata))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "pt"})
    tokens = metadata["tokenizer.ggml.tokens"]
    _write(folder / "config.json", config(metadata, tokens.index(eos_token)))
    _write(folder / "tokenizer.json", tokenizer(metadata))
    _write(folder / "tokenizer_config.json", tokenizer_config(metadata, eos_token))
    (folder / "chat_template.jinja").write_text(metadata["tokenizer.chat_template"])


def hf_name(name: str) -> str:
    """Of one tensor, such as blk.3.attn_q.weight."""
    *block, kind, suffix = name.split(".")
    place = f"model.layers.{block[1]}." if block else ""
    return f"{place}{_NAMES[kind]}.{suffix}"


def config(metadata: Metadata, eos_id: int) -> dict[str, Any]:
    def number(name: str) -> Any:
        return metadata[f"llama.{name}"].item()

    heads, width = number("attention.head_count"), number("embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length"),
        "max_position_embeddings": number("context_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv"),
        "head_dim": width // heads,
        "num_hidden_layers": number("block_count"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "rope_theta": number("rope.freq_base"),
        "rope_parameters": {"rope_type": "default", "rope_theta": number("rope.freq_base")},
        "tie_word_embeddings": True,
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"].item(),
        "eos_token_id": eos_id,
    }


def tokenizer(metadata: Metadata) -> dict[str, Any]:
    """The `tokenizers` library's own file."""
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": tokens[i], "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            for i, kind in enumerate(metadata["tokenizer.ggml.token_type"].tolist())
            if kind == _CONTROL
        ],
        "pre_tokenizer": {**bytewise, "trim_offsets": True},
        "decoder": {**bytewise, "trim_offsets": True},
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def tokenizer_config(metadata: Metadata, eos_token: str) -> dict[str, Any]:
    tokens = metadata["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[metadata["tokenizer.ggml.bos_token_id"].item()],
        "eos_token": eos_token,
        "pad_token": eos_token,
        "unk_token": tokens[metadata["tokenizer.ggml.unknown_token_id"].item()],
        "model_max_length": metadata["llama.context_length"].item(),
    }


def _weights(arrays: Mapping[str, Any], metadata: Metadata) -> Iterator[tuple[str, Any]]:
    import mlx.core as mx

    heads = {
        "attn_q": metadata["llama.attention.head_count"].item(),
        "attn_k": metadata["llama.attention.head_count_kv"].item(),
    }
    for name in (name for name in arrays if name.endswith(".weight")):
        base = name.removesuffix(".weight")
        plain = _dequantized(arrays, base)
        kind = base.rpartition(".")[2]
        if kind in heads:
            plain = _halves_apart(plain, heads[kind])
        yield hf_name(name), plain.astype(mx.bfloat16)


def _dequantized(arrays: Mapping[str, Any], base: str) -> Any:
    import mlx.core as mx

    packed = arrays[f"{base}.weight"]
    if f"{base}.scales" not in arrays:
        return packed
    scales = arrays[f"{base}.scales"].astype(mx.float32)
    biases = arrays[f"{base}.biases"].astype(mx.float32)
    group_size = 32  # of every block format of GGUF that MLX reads
    bits = packed.shape[1] * 32 // (scales.shape[1] * group_size)
    return mx.dequantize(packed, scales, biases, group_size=group_size, bits=bits)


def _halves_apart(rows: Any, n_heads: int) -> Any:
    """GGUF has the two halves of a head's rotary dimensions interleaved."""
    pairs = rows.reshape(n_heads, rows.shape[0] // n_heads // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
