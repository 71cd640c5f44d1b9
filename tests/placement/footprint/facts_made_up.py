"""Models by hand, for tests of what follows from them."""

from __future__ import annotations

from dataclasses import replace

from common.units import GIB
from placement.footprint.settings import Device, Settings
from placement.models.facts import (
    Attention,
    Dense,
    Experts,
    LatentAttention,
    Layer,
    ModelFacts,
    Quantization,
    State,
    StateSpace,
    Tower,
)

H100 = Device("NVIDIA H100 80GB HBM3", int(79.19 * GIB))
RTX_4090 = Device("NVIDIA GeForce RTX 4090", int(23.55 * GIB))
V019 = Settings(vllm_version=(0, 19, 0), max_model_len=8192)


def model(
    layers: tuple[Layer, ...], *, hidden: int, vocab: int, architecture: str = "MadeUpForCausalLM"
) -> ModelFacts:
    return ModelFacts(
        name=architecture,
        architecture=architecture,
        hidden_size=hidden,
        vocab_size=vocab,
        layers=layers,
        tied_embeddings=False,
        max_position_embeddings=131072,
        dtype="bfloat16",
        rotary_dim=128,
    )


def llama_8b() -> ModelFacts:
    layer = Layer(Attention(32, 8, 128, 128), Dense(14336))
    return model((layer,) * 32, hidden=4096, vocab=128256, architecture="LlamaForCausalLM")


def qwen3_14b() -> ModelFacts:
    layer = Layer(Attention(40, 8, 128, 128, qk_norm=True), Dense(17408))
    return model((layer,) * 40, hidden=5120, vocab=151936, architecture="Qwen3ForCausalLM")


def qwen3_30b_a3b() -> ModelFacts:
    layer = Layer(Attention(32, 4, 128, 128, qk_norm=True), Experts(128, 8, 768))
    return model((layer,) * 48, hidden=2048, vocab=151936, architecture="Qwen3MoeForCausalLM")


def windows(
    n_full: int, n_local: int, heads: int, size: int, window: int, *, hidden: int = 2560
) -> ModelFacts:
    """Full layers spread among sliding ones, as in gemma-3 and gpt-oss."""
    full = Layer(Attention(2 * heads, heads, size, size), Dense(10240))
    local = Layer(Attention(2 * heads, heads, size, size, window=window), Dense(10240))
    every = (n_full + n_local) // n_full
    layers = [full if i % every == every - 1 else local for i in range(n_full * every)]
    layers += [local] * (n_full + n_local - len(layers))
    return model(tuple(layers), hidden=hidden, vocab=262208, architecture="MadeUpWindows")


def gated_delta(n_full: int, n_state: int, *, itemsize: int | None = 4) -> ModelFacts:
    """Qwen3.5, or Qwen3-Next with states in the model's dtype: attention in every fourth layer."""
    state = StateSpace(
        "gdn",
        (State((2 * 16 * 128 + 32 * 128, 3), 0), State((32, 128, 128), 0, itemsize)),
        params=0,
    )
    full = Layer(Attention(16, 2, 256, 256, output_gate=True), Dense(4096))
    every = (n_full + n_state) // n_full
    layers = tuple(
        full if i % every == every - 1 else Layer(state, Dense(4096))
        for i in range(n_full + n_state)
    )
    return model(layers, hidden=2048, vocab=151936, architecture="MadeUpDelta")


def latent(n_layers: int, *, index_heads: int = 0) -> ModelFacts:
    mixer = LatentAttention(
        16, None, 512, 128, 64, 128, index_heads=index_heads, index_head_dim=128 * bool(index_heads)
    )
    layer = Layer(mixer, Experts(64, 6, 1408, shared_size=2816))
    return model(
        (layer,) * n_layers, hidden=2048, vocab=102400, architecture="DeepseekV2ForCausalLM"
    )


def mxfp4(facts: ModelFacts) -> ModelFacts:
    return replace(facts, quantization=Quantization("mxfp4", 4.25, experts_only=True))


def with_tower(facts: ModelFacts) -> ModelFacts:
    return replace(facts, tower=Tower("vision", 400_000_000, 16))
