"""GGUF headers: the model's sizes from its metadata, and exact bytes from its table of tensors.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from common.errors import UsageError
from placement.models.config_json import facts_of
from placement.models.facts import ModelFacts, Quantization, Scheme, StoredWeights
from placement.models.gguf_types import BLOCKS, config_of

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
# Value types of the metadata by number, as struct formats.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_KEEP = 4096  # longer arrays are vocabularies; only their length matters


@dataclass(frozen=True)
class Entry:
    """One tensor: how many elements, and which of GGML's types."""

    elements: int
    kind: int

    @property
    def n_bytes(self) -> int:
        elements, size = BLOCKS[self.kind][1:]
        return self.elements // elements * size


@dataclass(frozen=True)
class Header:
    metadata: dict[str, Any]
    tensors: dict[str, Entry]


def facts_of_file(file: Path) -> ModelFacts:
    """Raises UsageError for what is no GGUF file, and for models whose sizes it does not tell."""
    found = read(file)
    facts = facts_of(config_of(found.metadata, "output.weight" in found.tensors), file.stem)
    stored = StoredWeights({name: entry.n_bytes for name, entry in found.tensors.items()})
    return replace(facts, stored=stored, quantization=_quantization(found))


def read(file: Path) -> Header:
    try:
        with file.open("rb") as opened:
            return _header(opened, file)
    except struct.error:
        raise UsageError(f"{file} is cut off in its header") from None


def is_cut_off(file: Path) -> bool:
    """Whether its header would go on where the file ends; not of what is no GGUF file at all."""
    try:
        with file.open("rb") as opened:
            _header(opened, file)
    except struct.error:
        return True
    except UsageError:
        return False
    return False


def _quantization(found: Header) -> Quantization | None:
    """The mean over the matrices: a file such as Q4_K_M mixes several types."""
    matrices = [entry for entry in found.tensors.values() if BLOCKS[entry.kind][1] > 1]
    if not matrices:
        return None
    elements = sum(entry.elements for entry in matrices)
    bits = sum(entry.n_bytes for entry in matrices) * 8 / elements
    return Quantization("gguf", bits, lm_head=True, scheme=Scheme(bits))


def _header(opened: BinaryIO, file: Path) -> Header:
    if opened.read(4) != _MAGIC:
        raise UsageError(f"{file} is no GGUF file")
    version = _number(opened, "I")
    if version not in {2, 3}:
        raise UsageError(f"{file} is GGUF version {version}; 2 and 3 can be read")
    n_tensors, n_values = _number(opened, "Q"), _number(opened, "Q")
    metadata = {_text(opened): _value(opened, _number(opened, "I")) for _ in range(n_values)}
    tensors = dict(_tensor(opened, file) for _ in range(n_tensors))
    return Header(metadata, tensors)


def _tensor(opened: BinaryIO, file: Path) -> tuple[str, Entry]:
    name = _text(opened)
    elements = 1
    for _ in range(_number(opened, "I")):
        elements *= _number(opened, "Q")
    kind = _number(opened, "I")
    _number(opened, "Q")  # where its data begins
    if kind not in BLOCKS:
        raise UsageError(f"{file}: tensor {name} is of type {kind}, which is not known here")
    return name, Entry(elements, kind)


def _value(opened: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(opened)
    if kind == _ARRAY:
        return _array(opened)
    if kind not in _PLAIN:
        raise UsageError(f"GGUF metadata has a value of type {kind}, which is not known here")
    return _number(opened, _PLAIN[kind])


def _array(opened: BinaryIO) -> Any:
    """The values, or the length alone of what is long."""
    kind, length = _number(opened, "I"), _number(opened, "Q")
    if kind in _PLAIN and length > _KEEP:
        opened.seek(length * struct.calcsize(_PLAIN[kind]), 1)
        return Length(length)
    read_one: Callable[[], Any] = lambda: _value(opened, kind)  # noqa: E731
    values = [read_one() for _ in range(length)]
    return values if length <= _KEEP else Length(length)


class Length(int):
    """How long an array is whose values were passed over."""


def _text(opened: BinaryIO) -> str:
    return opened.read(_number(opened, "Q")).decode(errors="replace")


def _number(opened: BinaryIO, form: str) -> Any:
    size = struct.calcsize(f"<{form}")
    return struct.unpack(f"<{form}", opened.read(size))[0]
