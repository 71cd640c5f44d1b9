"""The GPUs of an inventory as a plan sees them: a budget of bytes each, and a predicted speed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from common.errors import ConfigError
from placement.footprint.settings import Device, DeviceKind
from placement.inventory import catalogue
from placement.inventory.gpu_specs import GpuSpec
from placement.inventory.inventory import Gpu, GpuKind, Inventory

_DEVICE_KINDS: dict[GpuKind, DeviceKind] = {
    "discrete": "cuda",
    "mig": "cuda",
    "unified": "unified",
    "apple": "apple",
}


@dataclass(frozen=True)
class Berth:
    """One GPU or MIG slice, or the main memory of a box without GPUs (`gpu` is None then).

    `id` is what CUDA_VISIBLE_DEVICES takes. `budget_bytes` is what is free now, less the reserve.
    A replica spans berths of one `kind` only.
    """

    id: str
    gpu: Gpu | None
    device: Device
    budget_bytes: int
    spec: GpuSpec | None

    @property
    def kind(self) -> tuple[str, int]:
        return (self.device.name, self.device.total_bytes)


def berths(
    inventory: Inventory, reserve_bytes: int, devices: Collection[int] | None = None
) -> tuple[Berth, ...]:
    """Every usable GPU, in the inventory's order; only those of `devices`, when given."""
    chosen = [g for g in inventory.usable_gpus if devices is None or g.index in devices]
    unknown = sorted(set(devices or ()) - {gpu.index for gpu in inventory.gpus})
    if unknown:
        raise ConfigError(
            f"gpu.devices: there is no GPU {unknown[0]}; this box has "
            f"{', '.join(str(gpu.index) for gpu in inventory.gpus) or 'none'}"
        )
    return tuple(_berth(gpu, reserve_bytes) for gpu in chosen)


def joined(inventory: Inventory, chosen: Sequence[Berth]) -> bool:
    """Whether the GPUs of a replica are all joined by NVLink."""
    return inventory.nvlinked(tuple(berth.gpu.index for berth in chosen if berth.gpu))


def _berth(gpu: Gpu, reserve_bytes: int) -> Berth:
    total = gpu.cuda_total_bytes or 0
    free = total if gpu.free_bytes is None else min(gpu.free_bytes, total)
    device = Device(
        name=gpu.name or "GPU",
        total_bytes=total,
        free_bytes=free,
        kind=_DEVICE_KINDS[gpu.kind],
        compute_capability=gpu.compute_capability,
    )
    return Berth(
        id=str(gpu.uuid) if gpu.kind == "mig" else str(gpu.index),
        gpu=gpu,
        device=device,
        budget_bytes=max(0, free - reserve_bytes),
        spec=catalogue.match(gpu.name, gpu.total_bytes),
    )
