"""What the manager is told of a model before its life begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.keep_alive import KeepAlive
from engines.manager.amounts import Bytes

FIVE_MINUTES = KeepAlive(300.0)  # Ollama's default


@dataclass(frozen=True)
class ManagedModel:
    """`vram_bytes` is what it takes while loaded, by device, as planned.

    `asleep_bytes` is what it takes in each sleep level that its engine has (vLLM's 1 keeps the
    weights in "ram", 2 drops them); empty where it has none. `reload_cost_s` is a first guess,
    replaced by what loads took.
    """

    name: str
    vram_bytes: Bytes
    asleep_bytes: Mapping[int, Bytes] = field(default_factory=dict)
    reload_cost_s: float = 30.0
    keep_alive: KeepAlive = FIVE_MINUTES
    pinned: bool = False  # never made to go for another model, nor by keep_alive
    on_disk: bool = True
