"""Where replicas go: which GPUs or cores each one gets, and how much memory. Pure functions.

The simplest layout that works: what the config says, and for `auto` one replica on one device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import ConfigError, NotEnoughMemoryError
from common.units import GIB, format_bytes
from placement.box import Box

# One replica's processes without weights and KV cache, seen at 1.6 GiB for a 135M model on a CPU.
_CPU_PROCESS_BYTES = int(1.5 * GIB)
_CPU_KV_MAX_BYTES = 4 * GIB
_CPU_KV_MIN_BYTES = GIB // 4
_CPU_KV_SHARE = 0.25
_GPU_SHARE = 0.92  # vLLM's own default for a replica alone on its GPU


@dataclass(frozen=True)
class Want:
    """One replica's needs. `workers` is tp x pp; `gpus` are the config's, or None to choose."""

    replica: str
    model: str
    workers: int
    weights_bytes: int
    kv_cache_bytes: int | None
    gpus: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Seat:
    """What one replica gets."""

    gpu_ids: tuple[int, ...] = ()
    gpu_share: float | None = None
    cpu_ids: tuple[tuple[int, ...], ...] = ()
    kv_cache_bytes: int | None = None


def seat(wants: Sequence[Want], box: Box) -> list[Seat]:
    """A seat for every want, in order. Raises ConfigError or NotEnoughMemoryError."""
    return _on_gpus(wants, box) if box.gpus else _on_cpu(wants, box)


def _on_gpus(wants: Sequence[Want], box: Box) -> list[Seat]:
    load: Counter[int] = Counter({gpu.index: 0 for gpu in box.gpus})
    chosen = [_choose_gpus(want, box, load) for want in wants]
    shares = [_GPU_SHARE / max(load[gpu] for gpu in gpus) for gpus in chosen]
    return [
        Seat(gpu_ids=gpus, gpu_share=round(share, 3), kv_cache_bytes=want.kv_cache_bytes)
        for want, gpus, share in zip(wants, chosen, shares, strict=True)
    ]


def _choose_gpus(want: Want, box: Box, load: Counter[int]) -> tuple[int, ...]:
    """The config's GPUs, else the emptiest ones."""
    known = {gpu.index: gpu for gpu in box.gpus}
    if want.gpus is None and want.workers > len(known):
        raise ConfigError(
            f"models.{want.model}.placement: tp x pp is {want.workers}, "
            f"but this box has {len(known)} GPU(s)"
        )
    emptiest = sorted(known, key=lambda index: (load[index], -known[index].free_bytes, index))
    gpus = want.gpus if want.gpus is not None else tuple(sorted(emptiest[: want.workers]))
    unknown = [index for index in gpus if index not in known]
    if unknown:
        raise ConfigError(
            f"models.{want.model}.placement.gpus: there is no GPU {unknown[0]}; "
            f"this box has {', '.join(map(str, sorted(known)))}"
        )
    load.update(gpus)
    return gpus


def _on_cpu(wants: Sequence[Want], box: Box) -> list[Seat]:
    named = next((want for want in wants if want.gpus), None)
    if named:
        raise ConfigError(
            f"models.{named.model}.placement.gpus: names GPUs, but NVML finds none on this box"
        )
    default_kv = default_kv_bytes(len(wants), box)
    kv_bytes = [want.kv_cache_bytes or default_kv for want in wants]
    check_memory(wants, kv_bytes, box)
    cores = split_cores([want.workers for want in wants], box.cores)
    return [Seat(cpu_ids=ids, kv_cache_bytes=kv) for ids, kv in zip(cores, kv_bytes, strict=True)]


def default_kv_bytes(n_replicas: int, box: Box) -> int:
    """A quarter of the free memory over all replicas, within bounds that suit small models."""
    share = int(box.available_memory_bytes * _CPU_KV_SHARE / max(1, n_replicas))
    return max(_CPU_KV_MIN_BYTES, min(_CPU_KV_MAX_BYTES, share))


def check_memory(wants: Sequence[Want], kv_bytes: Sequence[int], box: Box) -> None:
    """Raises NotEnoughMemoryError, with the sum, when the replicas cannot all be held."""
    rows = [
        (want, want.weights_bytes + kv + want.workers * _CPU_PROCESS_BYTES)
        for want, kv in zip(wants, kv_bytes, strict=True)
    ]
    needed = sum(n_bytes for _, n_bytes in rows)
    if needed <= box.available_memory_bytes:
        return
    parts = "; ".join(
        f"{want.replica} {format_bytes(n)} (weights {format_bytes(want.weights_bytes)}, "
        f"KV cache {format_bytes(kv)})"
        for (want, n), kv in zip(rows, kv_bytes, strict=True)
    )
    raise NotEnoughMemoryError(
        f"not enough memory: {format_bytes(needed)} needed, "
        f"{format_bytes(box.available_memory_bytes)} free: {parts}. Fewer replicas, a smaller or "
        "quantized model, or a smaller engine_args.kv_cache_memory_bytes would fit."
    )


def split_cores(workers: Sequence[int], cores: Sequence[int]) -> list[tuple[tuple[int, ...], ...]]:
    """Cores for every worker of every replica, one left for the rest where there are enough.

    A single worker gets nothing: left alone, vLLM binds it better than we could (by NUMA node).
    """
    total = sum(workers)
    if total <= 1:
        return [() for _ in workers]
    usable = list(cores[1:] if len(cores) > total else cores)
    size = max(1, len(usable) // total)
    lists = [tuple(usable[(i * size + j) % len(usable)] for j in range(size)) for i in range(total)]
    ends = [sum(workers[: i + 1]) for i in range(len(workers))]
    return [tuple(lists[end - n : end]) for end, n in zip(ends, workers, strict=True)]
