"""Spec sheets of GPUs (data/gpus.json), in bytes and per second. None is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from common.units import GIB
from placement.inventory.apple import default_limit
from placement.inventory.inventory import GpuKind

_FILE = Path(__file__).parents[1] / "data" / "gpus.json"
_MIB = 1 << 20


@dataclass(frozen=True)
class Flops:
    """Dense, a second. fp16 stands only where a card has no bf16; elsewhere the two are alike."""

    bf16: float | None = None
    fp16: float | None = None
    fp8: float | None = None
    fp4: float | None = None
    int8: float | None = None

    @property
    def half(self) -> float | None:
        return self.bf16 or self.fp16


@dataclass(frozen=True)
class GpuSpec:
    """`memory_bytes` is the nameplate; `cuda_total_bytes` is what an engine would see of it.

    The latter was printed by an engine on such a card, or is estimated on the low side.
    `nvlink_bytes_per_s` is one way, all links together. `sources` has a line for each value.
    """

    name: str
    kind: GpuKind
    nvml_names: tuple[str, ...]
    nicknames: tuple[str, ...]
    memory_bytes: int
    nvml_total_bytes: int | None
    cuda_total_bytes: int
    cuda_total_estimated: bool
    bandwidth_bytes_per_s: float | None
    flops: Flops
    nvlink: bool | None
    nvlinks: int | None
    nvlink_bytes_per_s: float | None
    compute_capability: tuple[int, int] | None
    tdp_watts: int | None
    price_usd: int | None
    sources: Mapping[str, str]
    notes: str | None

    def flops_at(self, precision: str) -> float | None:
        """What products of "bf16", "fp8", ... run at: a card without it computes in 16 bits."""
        own: float | None = getattr(self.flops, precision, None)
        return own or self.flops.half


@dataclass(frozen=True)
class _Sheet:
    """One GPU as it stands in the file, in the units of spec sheets."""

    name: str
    kind: Literal["discrete", "unified", "apple"]
    nvml_names: tuple[str, ...]
    nicknames: tuple[str, ...]
    memory_gb: int
    nvml_total_mib: int | None
    cuda_total_gib_seen: tuple[float, ...] | None
    bandwidth_gb_per_s: float | None
    dense_tflops: Flops
    nvlink: bool | None
    nvlinks: int | None
    nvlink_gb_per_s: float | None
    compute_capability: tuple[int, int] | None
    tdp_watts: int | None
    price_usd: int | None
    sources: Mapping[str, str]
    notes: str | None


@dataclass(frozen=True)
class _File:
    about: Mapping[str, str]
    gpus: tuple[_Sheet, ...]


@cache
def specs() -> tuple[GpuSpec, ...]:
    sheets = TypeAdapter(_File).validate_json(_FILE.read_bytes(), strict=True).gpus
    ratios = _Ratios.seen_in(sheets)
    return tuple(_spec(sheet, ratios) for sheet in sheets)


@dataclass(frozen=True)
class _Ratios:
    """The smallest share of a card's memory that an engine was ever seen to get."""

    of_nvml_total: float
    of_nameplate: float

    @classmethod
    def seen_in(cls, sheets: Sequence[_Sheet]) -> _Ratios:
        seen = [
            (sheet, min(sheet.cuda_total_gib_seen)) for sheet in sheets if sheet.cuda_total_gib_seen
        ]
        return cls(
            min(gib * 1024 / each.nvml_total_mib for each, gib in seen if each.nvml_total_mib),
            min(gib / each.memory_gb for each, gib in seen),
        )

    def cuda_total_bytes(self, sheet: _Sheet) -> int:
        if sheet.cuda_total_gib_seen:
            return int(min(sheet.cuda_total_gib_seen) * GIB)
        if sheet.kind == "apple":
            return default_limit(sheet.memory_gb * GIB)
        if sheet.nvml_total_mib:
            return int(sheet.nvml_total_mib * _MIB * self.of_nvml_total)
        return int(sheet.memory_gb * GIB * self.of_nameplate)


def _spec(sheet: _Sheet, ratios: _Ratios) -> GpuSpec:
    return GpuSpec(
        name=sheet.name,
        kind=sheet.kind,
        nvml_names=sheet.nvml_names,
        nicknames=sheet.nicknames,
        memory_bytes=sheet.memory_gb * GIB,
        nvml_total_bytes=sheet.nvml_total_mib * _MIB if sheet.nvml_total_mib else None,
        cuda_total_bytes=ratios.cuda_total_bytes(sheet),
        cuda_total_estimated=not sheet.cuda_total_gib_seen,
        bandwidth_bytes_per_s=_times(sheet.bandwidth_gb_per_s, 1e9),
        flops=Flops(
            **{name: _times(value, 1e12) for name, value in vars(sheet.dense_tflops).items()}
        ),
        nvlink=sheet.nvlink,
        nvlinks=sheet.nvlinks,
        nvlink_bytes_per_s=_times(sheet.nvlink_gb_per_s, 1e9),
        compute_capability=sheet.compute_capability,
        tdp_watts=sheet.tdp_watts,
        price_usd=sheet.price_usd,
        sources=sheet.sources,
        notes=sheet.notes,
    )


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
