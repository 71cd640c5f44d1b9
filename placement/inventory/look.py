"""Everything that this box has, at this moment."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

from placement.inventory import apple, cpu, nvml, unified
from placement.inventory.inventory import Inventory


def look(meminfo: Path = unified.MEMINFO) -> Inventory:
    """Never raises for the state of a GPU or driver: that stands in its `error` or in `errors`."""
    processor = cpu.read()
    found = nvml.read()
    mac = apple.read(processor.available_memory_bytes)
    gpus = (mac,) if mac else tuple(unified.settled(gpu, meminfo) for gpu in found.gpus)
    return Inventory(
        cpu=processor,
        gpus=gpus,
        links=found.links,
        driver_version=found.driver_version,
        cuda_version=found.cuda_version,
        hostname=socket.gethostname(),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        errors=found.errors,
    )
