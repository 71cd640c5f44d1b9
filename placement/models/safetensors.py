"""Exact sizes from safetensors headers: a length, then JSON, before the first byte of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from placement.models.facts import StoredWeights

_INDEX = "model.safetensors.index.json"
_MOST_HEADER_BYTES = 100 * 2**20  # the format's own limit
_ITEMSIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# Copies of the same weights in another form, which engines do not load beside the first.
_OTHER_FORMS = ("consolidated", "original/")


def stored_in(folder: Path) -> StoredWeights | None:
    """The weights of a model's folder; None where it holds no safetensors files."""
    files = _files(folder)
    if not files:
        return None
    return merged([header(file) for file in files])


def header(file: Path) -> dict[str, Any]:
    """The tensors of one file, by name. Raises UsageError for what is no safetensors file."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= _MOST_HEADER_BYTES:
            raise UsageError(f"{file} is no safetensors file: its header would be {length} bytes")
        text = opened.read(length)
    try:
        found = json.loads(text)
    except ValueError:
        raise UsageError(f"{file} is no safetensors file, or it is cut off in its header") from None
    return {name: each for name, each in found.items() if name != "__metadata__"}


def merged(headers: list[dict[str, Any]]) -> StoredWeights:
    tensors: dict[str, int] = {}
    itemsizes: dict[str, int] = {}
    for name, entry in (item for each in headers for item in each.items()):
        begin, end = entry["data_offsets"]
        tensors[name] = end - begin
        if itemsize := _ITEMSIZES.get(entry["dtype"]):
            itemsizes[name] = itemsize
    return StoredWeights(tensors, itemsizes)


def _files(folder: Path) -> list[Path]:
    """Those that the index names, else all in the folder itself."""
    index = folder / _INDEX
    if index.is_file():
        names = _weight_map(index).values()
        return [folder / name for name in sorted(set(names)) if (folder / name).is_file()]
    files = sorted(folder.glob("*.safetensors"))
    return [file for file in files if not file.name.startswith(_OTHER_FORMS)] or files


def _weight_map(index: Path) -> Mapping[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError):
        raise UsageError(f"{index} has no weight_map, so it is no safetensors index") from None
    return {str(name): str(file) for name, file in found.items()}
