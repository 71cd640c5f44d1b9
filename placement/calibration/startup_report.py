"""What an engine says it took at its start, in bytes; the counterpart of a Footprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

On = Literal["cuda", "cpu", "xpu"]


@dataclass(frozen=True)
class StartupReport:
    """One start's own figures, of its fullest rank. None: the engine did not say.

    `activation_bytes` is the peak without CUDA graphs. `cudagraph_bytes` is what the graphs took;
    `cudagraph_reserved_bytes` what was set aside for them within the requested memory: vLLM's
    estimate since 0.21, 0 where it counts nothing. `consumed_bytes` is weights and non-torch
    together. `kv_cache_bytes` is the smallest of all ranks, and negative when a start failed for
    it; `kv_cache_set` tells that its size was given, so that nothing was profiled.
    """

    vllm_version: str | None = None
    on: On | None = None
    weights_bytes: int | None = None
    activation_bytes: int | None = None
    non_torch_bytes: int | None = None
    cudagraph_bytes: int | None = None
    cudagraph_reserved_bytes: int | None = None
    consumed_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_set: bool = False
    kv_cache_tokens: int | None = None
    max_model_len: int | None = None
    max_concurrency: float | None = None
    free_at_start_bytes: int | None = None
    total_bytes: int | None = None
    requested_bytes: int | None = None
    num_gpu_blocks: int | None = None
    block_size: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
