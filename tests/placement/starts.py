"""Small models, cold predictions and reports to measure and calibrate with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common.units import GIB
from placement.calibration.startup_report import StartupReport
from placement.footprint.settings import Device, Footprint, Settings, Term
from placement.models.facts import Attention, Dense, Layer, ModelFacts

H100 = Device("NVIDIA H100 80GB HBM3", round(79.19 * GIB), compute_capability=(9, 0))
RTX_4090 = Device("NVIDIA GeForce RTX 4090", round(23.52 * GIB), compute_capability=(8, 9))
CPU = Device("some CPU", 32 * GIB, kind="cpu")
SETTINGS = Settings(vllm_version=(0, 32, 0), gpu_memory_utilization=0.9, max_model_len=4096)


def gib(value: float) -> int:
    return round(value * GIB)


def facts(name: str = "qwen3-14b", n_layers: int = 4, **changes: Any) -> ModelFacts:
    attention = Attention(n_heads=8, n_kv_heads=2, head_dim=64, v_head_dim=64)
    model = ModelFacts(
        name=name,
        architecture="Qwen3ForCausalLM",
        hidden_size=512,
        vocab_size=32_000,
        layers=(Layer(attention, Dense(1024)),) * n_layers,
        tied_embeddings=True,
        max_position_embeddings=4096,
        dtype="bfloat16",
    )
    return replace(model, **changes)


def predicted(
    weights: float = 8.0,
    activation: float = 1.0,
    non_torch: float = 0.25,
    cudagraph: float = 0.5,
    *,
    model: ModelFacts | None = None,
    settings: Settings = SETTINGS,
    device: Device = H100,
    budget: float = 20.0,
    basis: str = "fitted",
) -> Footprint:
    """Terms in GiB; the KV cache gets what they leave of the budget."""
    sizes = (weights, activation, non_torch, cudagraph)
    names = ("weights", "activation", "non_torch", "cudagraph")
    kv_cache = gib(budget) - sum(map(gib, sizes))
    return Footprint(
        facts=model or facts(),
        settings=settings,
        device=device,
        budget_bytes=gib(budget),
        terms=tuple(Term(n, gib(s), "a guess") for n, s in zip(names, sizes, strict=True)),
        kv_cache_bytes=kv_cache,
        kv_cache_tokens=kv_cache // 4096,
        max_model_len=4096,
        max_concurrency=kv_cache / 4096**2,
        fits=kv_cache > 0,
        basis=basis,
    )


def told(**sizes: float) -> StartupReport:
    """A report of these terms, in GiB."""
    return StartupReport(**{f"{name}_bytes": gib(size) for name, size in sizes.items()})
