"""`roundhouse gpus`: what this box, or a snapshot of another, has. Its JSON is such a snapshot."""

from __future__ import annotations

from pathlib import Path

from cli.listing import print_table
from common.units import format_bytes
from placement.inventory import look, snapshot
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link

_HEAD = (
    *("GPU", "NAME", "USED/TOTAL", "FREE", "UTIL", "POWER", "TEMP"),
    *("PCIE", "NVLINK", "MIG", "PROCESSES", "NOTE"),
)


def gpus(as_json: bool, inventory: Path | None) -> None:
    """Raises UsageError where `inventory` is no snapshot."""
    found = snapshot.load(inventory) if inventory else look.look()
    if as_json:
        print(snapshot.dump(found))
        return
    for line in _heading(found):
        print(line)
    if found.gpus:
        print_table(_HEAD, [_row(gpu, found.links) for gpu in found.gpus])
    for error in found.errors:
        print(f"error: {error}")
    if not found.gpus and not found.errors:
        print("no GPU: engines run on the CPU")
    if found.links:
        print()
        _print_links(found)


def _heading(found: Inventory) -> list[str]:
    versions = {"driver": found.driver_version, "CUDA": found.cuda_version}
    parts = [found.hostname, found.taken_at]
    parts += [f"{name} {version}" for name, version in versions.items() if version]
    heading = ", ".join(part for part in parts if part)
    return [line for line in (heading, _cpu(found.cpu)) if line]


def _cpu(cpu: Cpu) -> str:
    if not cpu.cores and not cpu.total_memory_bytes:
        return ""
    nodes = f", {len(cpu.numa_nodes)} NUMA nodes" if len(cpu.numa_nodes) > 1 else ""
    free, total = format_bytes(cpu.available_memory_bytes), format_bytes(cpu.total_memory_bytes)
    return f"CPU: {cpu.name or 'unknown'}, {len(cpu.cores)} core(s){nodes}, {free} of {total} free"


def _row(gpu: Gpu, links: tuple[Link, ...]) -> tuple[str, ...]:
    return (
        str(gpu.index),
        gpu.name or "-",
        f"{_bytes(gpu.used_bytes)}/{_bytes(gpu.cuda_total_bytes)}",
        _bytes(gpu.free_bytes),
        _or_dash(gpu.utilization_percent, "%"),
        _of(gpu.power_watts, gpu.power_limit_watts, "W"),
        _or_dash(gpu.temperature_celsius, "C"),
        _pcie(gpu),
        _nvlink(gpu, links),
        _mig(gpu),
        _processes(gpu),
        _note(gpu),
    )


def _bytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else format_bytes(n_bytes)


def _or_dash(value: int | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"


def _of(value: float | None, limit: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}{unit}" if limit is None else f"{value:.0f}/{limit:.0f}{unit}"


def _pcie(gpu: Gpu) -> str:
    """Now, and in brackets what the slot could do: an idle GPU slows its link down."""
    now = _lane(gpu.pcie_generation, gpu.pcie_width)
    best = _lane(gpu.pcie_generation_max, gpu.pcie_width_max)
    return now if now == best or best == "-" else f"{now} (of {best})"


def _lane(generation: int | None, width: int | None) -> str:
    return "-" if generation is None or width is None else f"{generation}.0 x{width}"


def _nvlink(gpu: Gpu, links: tuple[Link, ...]) -> str:
    counts = [link.nvlinks for link in links if gpu.index in (link.a, link.b)]
    peers = sum(bool(count) for count in counts)
    if peers:
        return f"{peers} peer(s)"
    return "-" if not counts or None in counts else "no"


def _mig(gpu: Gpu) -> str:
    if gpu.kind == "mig":
        return f"{gpu.mig_profile or 'slice'} of GPU {gpu.mig_parent}"
    return "on" if gpu.mig_enabled else "-"


def _processes(gpu: Gpu) -> str:
    if gpu.processes is None:
        return "-"
    named = (
        f"{Path(each.name or '?').name}[{each.pid}] {_bytes(each.used_bytes)}"
        for each in gpu.processes
    )
    return ", ".join(named) or "none"


def _note(gpu: Gpu) -> str:
    if gpu.error:
        return f"error: {gpu.error}"
    if gpu.mig_enabled:
        return "engines go on its slices"
    if gpu.kind in ("unified", "apple"):
        return "shares the system's memory"
    reasons = ", ".join(reason.replace("_", " ") for reason in gpu.throttle_reasons or ())
    return f"slowed: {reasons}" if reasons else "-"


def _print_links(found: Inventory) -> None:
    """Every pair twice, as a matrix: the column of a row's GPU says how to reach it."""
    by_pair = {frozenset((link.a, link.b)): link for link in found.links}
    indices = sorted({index for pair in by_pair for index in pair})
    print_table(
        ("LINKS", *map(str, indices)),
        [
            (str(a), *("-" if a == b else _link(by_pair.get(frozenset((a, b)))) for b in indices))
            for a in indices
        ],
    )


def _link(link: Link | None) -> str:
    if link is None:
        return "?"
    if link.nvlinks:
        return f"NVLink x{link.nvlinks}"
    return f"{link.path or '?'}{' +p2p' if link.p2p else ''}"
