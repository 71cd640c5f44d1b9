"""Measured constants, by version of vLLM and kind of GPU, from data/footprint.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from common.units import GIB
from placement.footprint.settings import Device, Settings, Version
from placement.footprint.versions import parse_version


@dataclass(frozen=True)
class Era:
    """What holds from version `since` on. Meanings of the fields: see the data file's `about`."""

    since: Version
    sampler_copies: float
    sampler_copies_worst: float
    hidden_widths: float
    base_bytes: int
    moe_workspace: bool
    non_torch: tuple[tuple[int, int], ...]  # tensor parallel size, bytes
    non_torch_pcie: tuple[tuple[int, int], ...]
    fitted_on: tuple[tuple[int, int], ...]
    margin_bytes: int
    source: str


@dataclass(frozen=True)
class GpuKind:
    compute_capability: tuple[int, int]
    nvlink: bool


@cache
def table() -> Mapping[str, Any]:
    """The data file; sizes in it are GiB."""
    text = (files("placement") / "data" / "footprint.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def constant(section: str, name: str) -> int:
    """One size of a section, in bytes."""
    return int(table()[section][name] * GIB)


@cache
def eras() -> tuple[Era, ...]:
    return tuple(_era(row) for row in table()["eras"])


@lru_cache(maxsize=64)
def era_of(version: Version) -> Era:
    return next(era for era in reversed(eras()) if era.since <= version)


@lru_cache(maxsize=256)
def gpu_kind(name: str) -> GpuKind | None:
    """By what a card is called in logs, by the driver or by people; None for an unknown name."""
    for row in table()["gpus"]:
        if re.search(row["pattern"], name.lower()):
            major, minor = row["compute_capability"]
            return GpuKind((major, minor), row["nvlink"])
    return None


def capability_of(device: Device) -> tuple[int, int] | None:
    kind = gpu_kind(device.name)
    return device.compute_capability or (kind.compute_capability if kind else None)


def is_fitted(settings: Settings, device: Device) -> bool:
    """Whether the constants were fitted to logs of this version on this kind of GPU."""
    if settings.vllm_version is None or device.kind != "cuda":
        return False
    return capability_of(device) in era_of(settings.vllm_version).fitted_on


@lru_cache(maxsize=256)
def cuda_total_bytes(name: str) -> int | None:
    """What CUDA reports as the total of a card that exists in one size only."""
    for row in table()["cuda_totals"]:
        if re.search(row["pattern"], name.lower()):
            return int(row["total"] * GIB)
    return None


def first_version(architecture: str, capability: tuple[int, int] | None) -> Version:
    """The first version that can run this architecture on this kind of GPU, as far as known."""
    section = table()["first_versions"]
    found = [_for_architecture(section, architecture)]
    if capability:
        found.append(parse_version(section["compute_capabilities"].get(str(capability[0]))))
    return max((version for version in found if version), default=(0, 0, 0))


def likely_version(architecture: str) -> Version | None:
    """The version that a start of this model most likely had; None: about the first possible."""
    return _for_architecture(table()["likely_versions"], architecture)


def _for_architecture(section: Mapping[str, Any], architecture: str) -> Version | None:
    """By the longest beginning of the name that the table has."""
    known = [name for name in section["architectures"] if architecture.startswith(name)]
    return parse_version(section["architectures"][max(known, key=len)]) if known else None


def _era(row: Mapping[str, Any]) -> Era:
    since = parse_version(row["since"])
    assert since is not None
    return Era(
        since=since,
        sampler_copies=row["sampler_copies"],
        sampler_copies_worst=row.get("sampler_copies_worst", row["sampler_copies"]),
        hidden_widths=row["hidden_widths"],
        base_bytes=int(row["base"] * GIB),
        moe_workspace=row["moe_workspace"],
        non_torch=_by_ranks(row["non_torch"]),
        non_torch_pcie=_by_ranks({**row["non_torch"], **row.get("non_torch_pcie", {})}),
        fitted_on=tuple((major, minor) for major, minor in row["fitted_on"]),
        margin_bytes=int(row["margin"] * GIB),
        source=row["source"],
    )


def _by_ranks(sizes: Mapping[str, float]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((int(ranks), int(size * GIB)) for ranks, size in sizes.items()))
