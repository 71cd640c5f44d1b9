"""vLLM's own defaults, which depend on its version and on the GPU."""

from __future__ import annotations

from dataclasses import dataclass

from common.units import GIB
from placement.footprint import versions
from placement.footprint.constants import capability_of
from placement.footprint.kinds import kinds
from placement.footprint.settings import Device, Settings, Version
from placement.models.facts import LatentAttention, ModelFacts

LATEST: Version = (0, 32, 0)
_CHUNKED_ABOVE_TOKENS = 32768  # V0 splits prefills of models with a longer context only
_LARGE_GPU_BYTES = 70 * GIB
_HUGE_GPU_BYTES = 160 * GIB


@dataclass(frozen=True)
class Resolved:
    """Settings with nothing left open. `v1` tells the two engines of vLLM's history apart."""

    version: Version
    v1: bool
    dtype: str
    kv_cache_dtype: str
    gpu_memory_utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    concurrent_batches: int
    prefix_caching: bool


def resolve(facts: ModelFacts, settings: Settings, device: Device | None = None) -> Resolved:
    """Without a device a card of no special kind is assumed."""
    v1 = uses_v1(settings, device)
    max_model_len = settings.max_model_len or facts.max_position_embeddings
    seqs = settings.max_num_seqs or _max_num_seqs(settings, device, v1)
    tokens = settings.max_num_batched_tokens or _max_batched(
        settings, device, max_model_len, seqs, v1
    )
    return Resolved(
        version=_version(settings),
        v1=v1,
        dtype=compute_dtype(facts, settings),
        kv_cache_dtype=settings.kv_cache_dtype,
        gpu_memory_utilization=default_utilization(settings)
        if settings.gpu_memory_utilization is None
        else settings.gpu_memory_utilization,
        max_model_len=max_model_len,
        max_num_seqs=settings.max_num_seqs or min(seqs, tokens),
        max_num_batched_tokens=tokens,
        block_size=settings.block_size or default_block_size(facts, settings, device),
        concurrent_batches=_concurrent_batches(settings, device),
        prefix_caching=_version(settings) >= versions.HYBRID_PREFIX_CACHE
        if settings.prefix_caching is None
        else settings.prefix_caching,
    )


def uses_v1(settings: Settings, device: Device | None) -> bool:
    capability = capability_of(device) if device else None
    version = _version(settings)
    if capability and capability < (8, 0) and version < versions.V0_REMOVED:
        return False
    return version >= versions.V1_ENGINE


def compute_dtype(facts: ModelFacts, settings: Settings) -> str:
    """The dtype of activations and of an unquantized KV cache; "auto" halves float32."""
    asked = {"half": "float16", "float": "float32"}.get(settings.dtype, settings.dtype)
    if asked != "auto":
        return asked
    return "bfloat16" if facts.dtype == "float32" else facts.dtype


def itemsize(dtype: str) -> int:
    return 4 if dtype == "float32" else 2


def default_utilization(settings: Settings) -> float:
    return 0.92 if _version(settings) >= versions.GRAPHS_IN_BUDGET else 0.9


def default_max_num_seqs(settings: Settings, device: Device | None = None) -> int:
    return _max_num_seqs(settings, device, uses_v1(settings, device))


def default_block_size(facts: ModelFacts, settings: Settings, device: Device | None = None) -> int:
    """Tokens a block, by the attention backend that vLLM would take."""
    latent = next(
        (x.mixer for x in kinds(facts).layers if isinstance(x.mixer, LatentAttention)), None
    )
    if device and device.kind == "cpu":
        return 16 if latent else 128
    if latent is None or not uses_v1(settings, device):
        return 16
    if latent.index_heads:
        return 64  # all sparse kernels
    return _latent_block_size(settings, capability_of(device) if device else None)


def _version(settings: Settings) -> Version:
    return LATEST if settings.vllm_version is None else settings.vllm_version


def _latent_block_size(settings: Settings, capability: tuple[int, int] | None) -> int:
    old = _version(settings) < versions.FLASH_ATTENTION_MLA
    if capability and capability[0] == 9 and old:
        return 64  # FlashMLA
    if capability and capability[0] == 10:
        return 128 if old else 32  # CUTLASS, then FlashInfer
    return 16


def _max_num_seqs(settings: Settings, device: Device | None, v1: bool) -> int:
    if device is None or not v1:
        return 256
    if device.kind == "cpu":
        return 128 * settings.tp * settings.pp
    return 1024 if _is_large(device) else 256


def _max_batched(
    settings: Settings, device: Device | None, max_model_len: int, seqs: int, v1: bool
) -> int:
    if not v1:
        chunked = max_model_len > _CHUNKED_ABOVE_TOKENS
        return 2048 if chunked else max(max_model_len, 2048)
    return min(_v1_batched(settings, device), seqs * max_model_len)


def _v1_batched(settings: Settings, device: Device | None) -> int:
    if device is None:
        return 2048
    if device.kind == "cpu":
        return 2048 * settings.tp * settings.pp
    if device.total_bytes >= _HUGE_GPU_BYTES:
        return 16384
    return 8192 if _is_large(device) else 2048


def _is_large(device: Device) -> bool:
    return device.total_bytes >= _LARGE_GPU_BYTES and "a100" not in device.name.lower()


def _concurrent_batches(settings: Settings, device: Device | None) -> int:
    """Batches that vLLM schedules ahead: of pipeline stages, and of asynchronous scheduling."""
    if _version(settings) < versions.IN_FLIGHT_BATCHES:
        return 1
    if device and device.kind == "cpu":
        return settings.pp
    if settings.pp == 1:
        return 2
    return settings.pp + (1 if _version(settings) >= versions.PIPELINE_ASYNC else 0)
