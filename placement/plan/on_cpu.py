"""Planning for a box without GPUs: main memory and cores, shared out among the replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.errors import ConfigError
from common.units import GIB, format_bytes
from placement.footprint.settings import Calibration, Device, Footprint
from placement.inventory.inventory import Cpu, Inventory
from placement.plan.berths import Berth
from placement.plan.demand import Demand, Layout
from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.remedies import Remedy
from placement.plan.sizing import longest_context
from placement.plan.speed import Workload

MAIN_MEMORY = "cpu"  # its berth's id
_KV_MAX_BYTES = 4 * GIB
_KV_MIN_BYTES = GIB // 4
_KV_SHARE = 0.25


def plan(
    demands: Sequence[Demand],
    inventory: Inventory,
    workload: Workload,
    calibration: Calibration | None,
) -> Plan:
    """One replica each unless more are asked for, in the config's order, while there is memory."""
    for demand in demands:
        _check(demand, inventory)
    berth = _main_memory(inventory.cpu)
    wanted = [(d, index) for d in demands for index in range(d.replicas or 1)]
    default_kv = default_kv_bytes(len(wanted), berth.budget_bytes)
    placements: list[Placement] = []
    refused: dict[str, Refusal] = {}
    left = berth.budget_bytes
    for demand, index in wanted:
        layout = demand.layout or Layout(1, 1)
        footprint = _footprint(demand, layout, berth, default_kv, calibration)
        needed = _bytes(footprint, layout)
        if needed > left:
            refused[demand.model] = _refusal(demand, footprint, needed, left, refused)
            continue
        left -= needed
        placements.append(Placement(demand.model, index, layout, (berth,), needed, footprint))
    seated = _with_cores(placements, inventory.cpu.cores)
    return Plan(inventory, (berth,), seated, tuple(refused.values()), {}, workload)


def without(inventory: Inventory, held_bytes: int) -> Inventory:
    """The same box with so much of its memory in use."""
    left = max(0, inventory.cpu.available_memory_bytes - held_bytes)
    return replace(inventory, cpu=replace(inventory.cpu, available_memory_bytes=left))


def default_kv_bytes(n_replicas: int, available_bytes: int) -> int:
    """A quarter of the free memory over all replicas, within bounds that suit small models."""
    share = int(available_bytes * _KV_SHARE / max(1, n_replicas))
    return max(_KV_MIN_BYTES, min(_KV_MAX_BYTES, share))


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


def _check(demand: Demand, inventory: Inventory) -> None:
    if demand.gpus:
        what = "; ".join(inventory.errors) or "this box has no GPU that could be used"
        raise ConfigError(f"models.{demand.model}.placement.gpus: names GPUs, but {what}")


def _main_memory(cpu: Cpu) -> Berth:
    device = Device(
        name=cpu.name or "CPU",
        total_bytes=cpu.total_memory_bytes,
        free_bytes=cpu.available_memory_bytes,
        kind="cpu",
    )
    return Berth(MAIN_MEMORY, None, device, cpu.available_memory_bytes, None)


def _footprint(
    demand: Demand, layout: Layout, berth: Berth, kv_bytes: int, calibration: Calibration | None
) -> Footprint:
    settings = replace(
        demand.settings,
        tp=layout.tp,
        pp=layout.pp,
        enforce_eager=True,
        kv_cache_bytes=demand.settings.kv_cache_bytes or kv_bytes,
    )
    return longest_context(demand.facts, settings, berth.device, calibration)


def _bytes(footprint: Footprint, layout: Layout) -> int:
    """Main memory of all workers: each has a process, weights and a KV cache of its own."""
    terms = sum(term.n_bytes for term in footprint.terms)
    return layout.n_gpus * (terms + footprint.kv_cache_bytes)


def _refusal(
    demand: Demand, footprint: Footprint, needed: int, left: int, before: dict[str, Refusal]
) -> Refusal:
    reason = (
        f"not enough memory: {format_bytes(needed)} needed for a replica (weights "
        f"{format_bytes(footprint.term('weights'))}, KV cache "
        f"{format_bytes(footprint.kv_cache_bytes)}, process "
        f"{format_bytes(footprint.term('non_torch'))}), "
        f"{format_bytes(max(0, left))} left"
    )
    remedies = (
        Remedy("fewer replicas or models", "leaves more memory to each"),
        Remedy("a smaller or quantized model", "has smaller weights"),
        Remedy("engine_args.kv_cache_memory_bytes", "a smaller value shrinks the KV cache"),
    )
    missing = before[demand.model].replicas + 1 if demand.model in before else 1
    return Refusal(demand.model, missing, reason, remedies)


def _with_cores(placements: Sequence[Placement], cores: Sequence[int]) -> tuple[Placement, ...]:
    lists = split_cores([p.layout.n_gpus for p in placements], cores)
    return tuple(replace(p, cpu_ids=ids) for p, ids in zip(placements, lists, strict=True))
