"""GGUF headers, written by hand and by the gguf library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from placement.footprint.weights import params
from placement.models.facts import Attention, Dense, Experts, LatentAttention
from placement.models.gguf import facts_of_file, read
from placement.models.gguf_types import BLOCKS
from tests.placement.models import files

LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 2048,
    "llama.rope.dimension_count": 64,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": [f"token{i}" for i in range(300)],
}
Q4_0, Q6_K, F32 = 2, 14, 0
TENSORS = {
    "token_embd.weight": (Q6_K, [256, 300]),
    "blk.0.ffn_up.weight": (Q4_0, [256, 512]),
    "output_norm.weight": (F32, [256]),
}


def test_facts_and_exact_bytes(tmp_path: Path) -> None:
    files.gguf(tmp_path / "tiny.gguf", LLAMA, TENSORS)
    facts = facts_of_file(tmp_path / "tiny.gguf")
    assert (facts.name, facts.architecture, facts.vocab_size) == ("tiny", "LlamaForCausalLM", 300)
    assert facts.layers[0].mixer == Attention(4, 2, 64, 64)
    assert facts.layers[1].feed_forward == Dense(512)
    assert facts.tied_embeddings
    assert facts.stored is not None
    assert facts.stored.tensors == {
        "token_embd.weight": 300 * 210,
        "blk.0.ffn_up.weight": 256 * 512 // 32 * 18,
        "output_norm.weight": 1024,
    }
    assert facts.quantization is not None
    matrices = 300 * 210 + 512 * 256 // 32 * 18
    assert facts.quantization.bits == pytest.approx(8 * matrices / (300 * 256 + 512 * 256))


def test_an_output_layer_of_its_own(tmp_path: Path) -> None:
    files.gguf(tmp_path / "a.gguf", LLAMA, TENSORS | {"output.weight": (Q6_K, [256, 300])})
    assert not facts_of_file(tmp_path / "a.gguf").tied_embeddings


def test_long_arrays_are_passed_over(tmp_path: Path) -> None:
    long = {"tokenizer.ggml.scores": [0.5] * 5000, "tokenizer.ggml.tokens": ["x"] * 5000}
    files.gguf(tmp_path / "a.gguf", LLAMA | long, TENSORS)
    metadata = read(tmp_path / "a.gguf").metadata
    assert metadata["tokenizer.ggml.scores"] == 5000
    assert facts_of_file(tmp_path / "a.gguf").vocab_size == 5000


def test_experts_in_a_llama_make_a_mixtral(tmp_path: Path) -> None:
    more = {"llama.expert_count": 8, "llama.expert_used_count": 2}
    files.gguf(tmp_path / "a.gguf", LLAMA | more, TENSORS)
    assert facts_of_file(tmp_path / "a.gguf").layers[0].feed_forward == Experts(8, 2, 512)


def test_latent_attention(tmp_path: Path) -> None:
    metadata = {key.replace("llama", "deepseek2"): value for key, value in LLAMA.items()} | {
        "general.architecture": "deepseek2",
        "deepseek2.attention.kv_lora_rank": 128,
        "deepseek2.attention.key_length_mla": 96,
        "deepseek2.attention.value_length_mla": 64,
        "deepseek2.attention.key_length": 192,
        "deepseek2.attention.value_length": 128,
        "deepseek2.rope.dimension_count": 32,
    }
    files.gguf(tmp_path / "a.gguf", metadata, TENSORS)
    mixer = facts_of_file(tmp_path / "a.gguf").layers[0].mixer
    assert mixer == LatentAttention(4, None, 128, 64, 32, 64, latent_norms=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no GGUF file"), (b"GGML....", "no GGUF file"), (b"GGUF\x01\x00\x00\x00", "version 1")],
)
def test_what_is_no_gguf_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        facts_of_file(tmp_path / "a.gguf")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    files.gguf(tmp_path / "a.gguf", LLAMA, TENSORS)
    whole = (tmp_path / "a.gguf").read_bytes()
    (tmp_path / "a.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cut off"):
        facts_of_file(tmp_path / "a.gguf")


def test_a_type_that_is_not_known(tmp_path: Path) -> None:
    files.gguf(tmp_path / "a.gguf", LLAMA, {"token_embd.weight": (99, [256, 300])})
    with pytest.raises(UsageError, match="type 99"):
        facts_of_file(tmp_path / "a.gguf")


def test_a_file_that_lacks_sizes(tmp_path: Path) -> None:
    files.gguf(tmp_path / "a.gguf", {"general.architecture": "llama"}, TENSORS)
    with pytest.raises(UsageError, match="num_hidden_layers"):
        facts_of_file(tmp_path / "a.gguf")
    files.gguf(tmp_path / "b.gguf", {"general.name": "nameless"}, TENSORS)
    with pytest.raises(UsageError, match=r"general\.architecture"):
        facts_of_file(tmp_path / "b.gguf")


def test_types_are_those_of_the_gguf_library() -> None:
    gguf = pytest.importorskip("gguf")
    known = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType
    }
    assert {number: known[number] for number in BLOCKS if number in known} == BLOCKS


def test_a_file_that_the_gguf_library_wrote(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    file = tmp_path / "written.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(128)
    writer.add_vocab_size(32)
    writer.add_tensor("token_embd.weight", numpy.zeros((32, 64), dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = facts_of_file(file)
    assert facts.stored is not None
    assert facts.stored.total_bytes == 32 * 64 * 2
    assert params(facts) == 32 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 3 * 64
    assert facts.quantization is None
