"""Figures as a person reads them: GiB, tokens, seconds, and how a replica is spread."""

from __future__ import annotations

from collections.abc import Sequence

from common.units import GIB
from placement.footprint.settings import Settings
from placement.plan.demand import Layout
from placement.plan.plan import Placement

BASES = {
    "exact": "the size of the KV cache is given",
    "calibrated": "learnt from this box's earlier starts",
    "fitted": "fitted to starts of this version on such GPUs",
    "margin": "not calibrated here, so a margin is kept",
}


def gib(n_bytes: float) -> str:
    return f"{number(n_bytes)} GiB"


def number(n_bytes: float) -> str:
    """GiB without the unit, for a column that names it."""
    return f"{n_bytes / GIB:,.2f}"


def tokens(count: int) -> str:
    return f"{count:,}"


def rate(per_s: float | None) -> str:
    """Tokens a second, as exact as a prediction deserves."""
    if per_s is None:
        return "not known"
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.1f}"


def seconds(value: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:,.1f} s"


def times(value: float) -> str:
    """How many requests of full length at once."""
    return f"{value:,.1f}"


def percent(share: float | None) -> str:
    """With a sign: of an error, which may go either way."""
    return "-" if share is None else f"{share:+.1%}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Neighbouring numbers in short: "0-3, 6"."""
    runs: list[list[str]] = []
    for name in names:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _follows(before: str, name: str) -> bool:
    return before.isdigit() and name.isdigit() and int(name) == int(before) + 1


def scope(placement: Placement) -> str:
    return "of each GPU" if placement.berths[0].gpu else "of main memory"


def spread(layout: Layout, *, nvlink: bool, on_cpu: bool = False) -> str:
    if on_cpu:
        return "one worker" if layout.n_gpus == 1 else f"{layout}"
    if layout.n_gpus == 1:
        return str(layout)
    return f"{layout} by {'NVLink' if nvlink else 'PCIe'}"


def in_words(placement: Placement) -> str:
    """One line of a plan: "m-0 on GPU 0-1 (TP 2 by PCIe), context 8,192, KV cache 9.31 GiB"."""
    on_cpu = placement.berths[0].gpu is None
    how = spread(placement.layout, nvlink=placement.nvlink, on_cpu=on_cpu)
    where = "the CPU" if on_cpu else f"GPU {places(placement)}"
    footprint = placement.footprint
    return (
        f"{placement.replica} on {where} ({how}), context {tokens(footprint.max_model_len)}, "
        f"KV cache {gib(footprint.kv_cache_bytes)}"
    )


def places(placement: Placement) -> str:
    """By the numbers that a person knows the GPUs by; a MIG slice's id is a long UUID."""
    return listed([str(b.gpu.index) if b.gpu else b.id for b in placement.berths])


def share(settings: Settings) -> str:
    """What the engine is told of the memory that it may take."""
    if settings.kv_cache_bytes is not None:
        return f"kv_cache_memory_bytes {settings.kv_cache_bytes}"
    if settings.gpu_memory_utilization is not None:
        return f"gpu_memory_utilization {settings.gpu_memory_utilization:g}"
    return "the engine's own default"
