"""Predicted tokens/s and time to first token of one replica, by the roofline of its GPU.

A decode step reads the weights and the batch's KV cache from memory and does two FLOPs a parameter
a sequence; the longer of the two is the step. These figures rank alternatives. They are predicted
from spec sheets, not measured, and are always labelled so.
"""

from __future__ import annotations

from dataclasses import dataclass

from placement.models.facts import Experts, ModelFacts

# Shares of the spec sheet's peak that well-kept kernels are taken to reach: assumptions of ours.
_MEMORY_EFFICIENCY = 0.70
_COMPUTE_EFFICIENCY = 0.50
_STEP_OVERHEAD_S = 0.0015  # scheduling, sampling and launches of one step
# One all-reduce of a small message, by how the GPUs are joined; two of them a layer.
_ALL_REDUCE_S = {"nvlink": 10e-6, "pcie": 30e-6}
_PCIE_BYTES_PER_S = 25e9  # what a x16 slot of generation 4 gives in one direction

BASIS = (
    f"roofline of the spec sheet: {_MEMORY_EFFICIENCY:.0%} of its memory bandwidth, "
    f"{_COMPUTE_EFFICIENCY:.0%} of its dense FLOPS, {_STEP_OVERHEAD_S * 1000:g} ms a step; "
    "predicted, not measured"
)


@dataclass(frozen=True)
class Hardware:
    """One GPU's speed: bytes/s from memory, dense FLOPS at the weights' precision."""

    bandwidth_bytes_per_s: float
    flops: float
    nvlink_bytes_per_s: float | None = None  # None: the GPUs of a replica are joined by PCIe


@dataclass(frozen=True)
class Workload:
    """What requests are like: tokens in and out of each."""

    input_tokens: int = 1024
    output_tokens: int = 256

    @property
    def mean_context(self) -> float:
        return self.input_tokens + self.output_tokens / 2


DEFAULT_WORKLOAD = Workload()


@dataclass(frozen=True)
class Shape:
    """What of a model's size a step depends on, on one rank of a replica.

    `read_bytes` are the weights read for one token alone; a mixture of experts reads up to
    `weights_bytes` for many. `active_params` is of the whole model.
    """

    facts: ModelFacts
    tp: int
    pp: int
    weights_bytes: int
    read_bytes: int
    active_params: int
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    max_num_seqs: int


@dataclass(frozen=True)
class Speed:
    """Predicted for one replica under full load; `stream_tokens_per_s` is one user's share."""

    tokens_per_s: float
    stream_tokens_per_s: float
    single_stream_tokens_per_s: float
    ttft_s: float
    concurrency: int
    bound: str


def predict(shape: Shape, hardware: Hardware, workload: Workload) -> Speed:
    """At the largest batch that the KV cache holds."""
    batch = concurrency(shape, workload)
    prefill_s = _prefill_s(shape, hardware, workload.input_tokens)
    step_s, bound = step(shape, hardware, batch, workload.mean_context)
    # Every token of a batch costs its share of the request's prompt as well.
    round_s = step_s + batch * prefill_s / workload.output_tokens / shape.pp
    single_s, _ = step(shape, hardware, 1, workload.mean_context)
    return Speed(
        tokens_per_s=batch / round_s,
        stream_tokens_per_s=1 / round_s,
        single_stream_tokens_per_s=1 / single_s,
        ttft_s=prefill_s + _STEP_OVERHEAD_S,
        concurrency=batch,
        bound=bound,
    )


def concurrency(shape: Shape, workload: Workload) -> int:
    whole = workload.input_tokens + workload.output_tokens
    return max(1, min(shape.max_num_seqs, shape.kv_capacity_tokens // whole))


def step(shape: Shape, hardware: Hardware, batch: int, context_tokens: float) -> tuple[float, str]:
    """Seconds until each of `batch` sequences has one more token, and what bounds it.

    A pipeline holds one micro-batch a stage, so a round is as many stage times as there are stages.
    """
    micro = max(1.0, batch / shape.pp)
    kv_bytes = micro * context_tokens * shape.kv_bytes_per_token
    memory_s = (_weights_read(shape, micro) + kv_bytes) / (
        hardware.bandwidth_bytes_per_s * _MEMORY_EFFICIENCY
    )
    compute_s = micro * _flops_per_token(shape) / (hardware.flops * _COMPUTE_EFFICIENCY)
    stage_s = max(memory_s, compute_s) + _exchange_s(shape, hardware, micro) + _STEP_OVERHEAD_S
    bound = "memory bandwidth" if memory_s >= compute_s else "compute"
    return stage_s * shape.pp, bound


def _prefill_s(shape: Shape, hardware: Hardware, tokens: int) -> float:
    """Of one prompt, through all stages."""
    compute_s = tokens * _flops_per_token(shape) / (hardware.flops * _COMPUTE_EFFICIENCY)
    return (compute_s + _exchange_s(shape, hardware, tokens)) * shape.pp


def _flops_per_token(shape: Shape) -> float:
    """On one rank of one stage."""
    return 2 * shape.active_params / shape.tp / shape.pp


def _weights_read(shape: Shape, batch: float) -> float:
    """Bytes of weights that one step reads: more of the experts, the more tokens choose them."""
    share = next(
        (
            layer.feed_forward.per_token / layer.feed_forward.n_experts
            for layer in shape.facts.layers
            if isinstance(layer.feed_forward, Experts)
        ),
        1.0,
    )
    if share >= 1.0:
        return shape.read_bytes
    experts = max(0.0, (shape.weights_bytes - shape.read_bytes) / (1 - share))
    touched: float = 1 - (1 - share) ** batch
    return shape.read_bytes + experts * max(0.0, touched - share)


def _exchange_s(shape: Shape, hardware: Hardware, tokens: float) -> float:
    """All-reduces of a step over the ranks of one stage: two a layer, in 16 bits."""
    if shape.tp == 1:
        return 0.0
    by = "nvlink" if hardware.nvlink_bytes_per_s else "pcie"
    n_bytes = tokens * shape.facts.hidden_size * 2
    moved = 2 * (shape.tp - 1) / shape.tp * n_bytes
    layers = len(shape.facts.layers) / shape.pp
    link_bytes_per_s = hardware.nvlink_bytes_per_s or _PCIE_BYTES_PER_S
    return 2 * layers * (_ALL_REDUCE_S[by] + moved / link_bytes_per_s)
