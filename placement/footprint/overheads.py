"""What an engine takes beside weights, activation and KV cache."""

from __future__ import annotations

from collections.abc import Sequence

from common.units import GIB
from placement.footprint.activation import is_mxfp4
from placement.footprint.constants import (
    capability_of,
    constant,
    era_of,
    gpu_kind,
    is_fitted,
    table,
)
from placement.footprint.defaults import LATEST, resolve
from placement.footprint.kinds import kinds
from placement.footprint.settings import Device, Settings, Version
from placement.models.facts import Experts, ModelFacts, StateSpace

_GRAPHED_SEQS = 512  # CUDA graphs are captured up to this batch
_V0_GRAPHED_SEQS = 256


def context_bytes(settings: Settings, device: Device) -> int:
    """CUDA's context and the communicators: gone before the engine looks at its memory."""
    if device.kind == "cpu":
        return 0
    if settings.pp > 1 and settings.tp == 1:
        return constant("context", "pipeline")
    if settings.tp == 1:
        return constant("context", "single")
    return constant("context", "nvlink" if _nvlink(device) else "pcie")


def non_torch(settings: Settings, device: Device) -> tuple[int, str]:
    """Growth outside of PyTorch's allocator from then on: NCCL, cuBLAS, all-reduce buffers."""
    if device.kind == "cpu":
        return int(table()["cpu_process"] * GIB), "the engine's processes"
    era = era_of(_version(settings))
    if settings.pp > 1 and settings.tp == 1:
        return int(table()["pipeline_non_torch"] * GIB), f"of a pipeline rank; {era.source}"
    linked = _nvlink(device)
    n_bytes = _at(era.non_torch if linked else era.non_torch_pcie, settings.tp)
    how = f"tensor parallel over {'NVLink' if linked else 'PCIe'}" if settings.tp > 1 else "one GPU"
    return n_bytes, f"{how}; {era.source}"


def cudagraph(
    facts: ModelFacts, settings: Settings, device: Device, layers: range
) -> tuple[int, str]:
    """Captured graphs of one pipeline rank with these layers."""
    if settings.enforce_eager or device.kind == "cpu":
        return 0, "none are captured"
    resolved = resolve(facts, settings, device)
    sizes = capture_sizes(resolved.max_num_seqs, v1=resolved.v1)
    graphs = table()["cudagraph"]
    size = "" if _is_datacenter(device) else "_small"
    gib = graphs[f"base{size}"] + graphs[f"per_layer{size}"] * len(layers)
    gib += graphs["moe"] if _has(facts, Experts) else 0
    gib += graphs["mxfp4"] if is_mxfp4(facts, settings) else 0
    n_bytes = int(gib * GIB * sizes / graphs["capture_sizes"])
    return n_bytes, f"{sizes} batch sizes, {len(layers)} layers; {graphs[f'source{size}']}"


def capture_sizes(max_num_seqs: int, *, v1: bool) -> int:
    """How many batch sizes are captured: 1, 2, 4, each 8th to 256, each 16th after."""
    largest = min(2 * max_num_seqs, _GRAPHED_SEQS) if v1 else min(max_num_seqs, _V0_GRAPHED_SEQS)
    small = sum(size <= largest for size in (1, 2, 4))
    return small + min(largest, 255) // 8 + max(0, (largest - 240) // 16)


def warm_up_bytes(facts: ModelFacts, settings: Settings) -> int:
    """What is allocated once the pool is, beyond the activation that the budget has room for."""
    n_bytes = constant("warm_up", "mxfp4") if is_mxfp4(facts, settings) else 0
    if _has(facts, StateSpace) and not settings.enforce_eager:
        n_bytes += constant("warm_up", "states")
    return n_bytes


def margin_bytes(settings: Settings, device: Device) -> int:
    """How far the prediction may be too low where nothing was measured."""
    era = era_of(_version(settings))
    if is_fitted(settings, device):
        return era.margin_bytes
    return max(era.margin_bytes, constant("headroom", "other"))


def headroom_bytes(settings: Settings, device: Device, *, sure: bool) -> int:
    """What should stay free outside of the engine's share. `sure`: calibrated or fitted."""
    if device.kind == "cpu":
        return 0
    if sure:
        return constant("headroom", "fitted")
    return constant("headroom", "eager" if settings.enforce_eager else "other")


def _version(settings: Settings) -> Version:
    return settings.vllm_version or LATEST


def _has(facts: ModelFacts, part: type) -> bool:
    layers = kinds(facts).layers
    return any(isinstance(x.mixer, part) or isinstance(x.feed_forward, part) for x in layers)


def _is_datacenter(device: Device) -> bool:
    """Hopper and its successors, whose matrix libraries keep larger workspaces."""
    capability = capability_of(device)
    return capability is not None and capability[0] in {9, 10}


def _nvlink(device: Device) -> bool:
    """Unknown cards count as linked, which takes more."""
    kind = gpu_kind(device.name)
    if kind:
        return kind.nvlink
    capability = capability_of(device)
    return capability is None or capability[0] in {7, 9, 10} or capability == (8, 0)


def _at(sizes: Sequence[tuple[int, int]], ranks: int) -> int:
    """The row of the most ranks that are not more than these."""
    return next(n_bytes for most, n_bytes in reversed(sizes) if most <= ranks)
