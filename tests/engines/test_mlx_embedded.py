"""The embedded model without torch; tests/real/test_mlx.py converts the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.mlx_embedded import _halves_apart, config, hf_name, tokenizer, tokenizer_config

METADATA: dict[str, Any] = {
    "llama.attention.head_count": np.array(4),
    "llama.attention.head_count_kv": np.array(2),
    "llama.embedding_length": np.array(32),
    "llama.feed_forward_length": np.array(64),
    "llama.context_length": np.array(128),
    "llama.block_count": np.array(3),
    "llama.attention.layer_norm_rms_epsilon": np.array(1e-5),
    "llama.rope.freq_base": np.array(10000.0),
    "tokenizer.ggml.tokens": ["<unk>", "<start>", "<end>", "a", "b", "ab"],
    "tokenizer.ggml.token_type": np.array([3, 3, 3, 1, 1, 1]),
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": np.array(1),
    "tokenizer.ggml.unknown_token_id": np.array(0),
}


@pytest.mark.parametrize(
    ("gguf", "hf"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight"),
        ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
    ],
)
def test_names(gguf: str, hf: str) -> None:
    assert hf_name(gguf) == hf


@given(heads=st.integers(1, 6), half=st.integers(1, 8), columns=st.integers(1, 4))
def test_the_halves_of_a_head_stand_apart_again(heads: int, half: int, columns: int) -> None:
    rows = np.arange(heads * half * 2 * columns).reshape(-1, columns)
    # As llama.cpp's converter writes them.
    interleaved = rows.reshape(heads, 2, half, columns).swapaxes(1, 2).reshape(rows.shape)
    assert np.array_equal(_halves_apart(interleaved, heads), rows)


def test_config_and_tokenizer() -> None:
    told = config(METADATA, eos_id=2)
    assert (told["head_dim"], told["num_hidden_layers"], told["eos_token_id"]) == (8, 3, 2)
    assert (told["vocab_size"], told["rope_parameters"]["rope_theta"]) == (6, 10000.0)
    made = tokenizer(METADATA)
    assert [token["content"] for token in made["added_tokens"]] == ["<unk>", "<start>", "<end>"]
    assert made["model"]["merges"] == [["a", "b"]]
    assert made["model"]["vocab"]["ab"] == 5
    told = tokenizer_config(METADATA, "<end>")
    assert (told["bos_token"], told["eos_token"], told["unk_token"]) == (
        "<start>",
        "<end>",
        "<unk>",
    )
