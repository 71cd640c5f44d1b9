"""What a box has: its GPUs and how they are linked, its cores and memory.

A fact that could not be read is None, never a guess. Values are of one moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GpuKind = Literal["discrete", "mig", "unified", "apple"]
LinkPath = Literal["internal", "single", "multiple", "hostbridge", "node", "system"]


@dataclass(frozen=True)
class Process:
    """A process that holds memory of a GPU. `used_bytes` is None where the driver hides it."""

    pid: int
    name: str | None
    used_bytes: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice of it. `error` says why it cannot be used; its facts are None then.

    `index` is NVML's, and what CUDA_VISIBLE_DEVICES takes with CUDA_DEVICE_ORDER=PCI_BUS_ID. MIG
    slices are numbered on after the last GPU, and CUDA takes their `uuid` instead.
    `reserved_bytes` is what the driver keeps for itself; `cuda_total_bytes` is total less reserved,
    which is what the engine sees at most. Where reserved is unknown, `used_bytes` includes it.
    """

    index: int
    kind: GpuKind = "discrete"
    uuid: str | None = None
    name: str | None = None
    error: str | None = None
    total_bytes: int | None = None
    reserved_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None
    pci_bus_id: str | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    numa_node: int | None = None
    utilization_percent: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: int | None = None
    throttle_reasons: tuple[str, ...] | None = None
    mig_parent: int | None = None
    mig_profile: str | None = None
    mig_enabled: bool = False  # a parent in MIG mode is no place for an engine; its slices are
    processes: tuple[Process, ...] | None = None

    @property
    def cuda_total_bytes(self) -> int | None:
        if self.total_bytes is None:
            return None
        return self.total_bytes - (self.reserved_bytes or 0)

    @property
    def usable(self) -> bool:
        return self.error is None and self.total_bytes is not None and not self.mig_enabled


@dataclass(frozen=True)
class Link:
    """How two GPUs reach each other. `path` is how far apart they are on PCIe."""

    a: int
    b: int
    nvlinks: int | None = None  # active links between the two; 0 without NVLink
    p2p: bool | None = None
    path: LinkPath | None = None


@dataclass(frozen=True)
class Cpu:
    """`cores` lists one logical CPU of each physical core that this process may use.

    `numa_nodes[n]` are all logical CPUs of node n; empty for a node of memory alone.
    """

    name: str | None
    cores: tuple[int, ...]
    numa_nodes: tuple[tuple[int, ...], ...]
    total_memory_bytes: int
    available_memory_bytes: int


@dataclass(frozen=True)
class Inventory:
    """`errors` tells of what could not be looked at as a whole, such as a driver mismatch."""

    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()
    links: tuple[Link, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    hostname: str | None = None
    taken_at: str | None = None  # ISO 8601, UTC
    errors: tuple[str, ...] = ()

    @property
    def usable_gpus(self) -> tuple[Gpu, ...]:
        return tuple(gpu for gpu in self.gpus if gpu.usable)

    def nvlinked(self, indices: tuple[int, ...]) -> bool:
        """Whether every two of these GPUs are joined by NVLink."""
        joined = {frozenset((link.a, link.b)) for link in self.links if link.nvlinks}
        pairs = {frozenset((a, b)) for a in indices for b in indices if a != b}
        return bool(pairs) and pairs <= joined
