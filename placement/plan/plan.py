"""What a plan says: which replica stands where with how many bytes, and what found no place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from placement.footprint.settings import Footprint, Settings
from placement.inventory.inventory import Inventory
from placement.plan.berths import Berth
from placement.plan.demand import Layout
from placement.plan.options import Option
from placement.plan.remedies import Remedy
from placement.plan.speed import Speed, Workload


@dataclass(frozen=True)
class Placement:
    """One replica and where it stands. `bytes_per_gpu` is all that it may take of each GPU.

    On a CPU there is one berth, the main memory, and `cpu_ids` lists the cores of each worker;
    empty leaves them to the engine.
    """

    model: str
    index: int
    layout: Layout
    berths: tuple[Berth, ...]
    bytes_per_gpu: int
    footprint: Footprint
    nvlink: bool = False
    speed: Speed | None = None
    cpu_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def replica(self) -> str:
        return f"{self.model}-{self.index}"

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        return tuple(berth.id for berth in self.berths if berth.gpu)

    @property
    def settings(self) -> Settings:
        return self.footprint.settings


@dataclass(frozen=True)
class Refusal:
    """A model, or some of its replicas, without a place; what would make it fit, best first."""

    model: str
    replicas: int
    reason: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True)
class Plan:
    """`options` ranks each model's alternatives on this box as if it were alone."""

    inventory: Inventory
    berths: tuple[Berth, ...]
    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...]
    options: Mapping[str, tuple[Option, ...]]
    workload: Workload

    def used_bytes(self, berth: Berth) -> int:
        return sum(p.bytes_per_gpu for p in self.placements if berth in p.berths)
