"""An inventory as JSON, so that a box can be planned against on another machine.

Every field stands in the file, null where it is unknown. Reading is strict: a misspelt field that
was taken for an unknown one would lead to a wrong plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.errors import UsageError
from placement.inventory.inventory import Inventory

VERSION = 1  # raised when a field comes, goes or changes its meaning

_INVENTORY = TypeAdapter(Inventory)
_AGAIN = "write a new one on that box with `roundhouse gpus --json > FILE`"


def dump(inventory: Inventory) -> str:
    fields = _INVENTORY.dump_python(inventory, mode="json")
    return json.dumps({"version": VERSION, **fields}, indent=2)


def load(path: Path) -> Inventory:
    """Raises UsageError with the file, the field and what to do."""
    try:
        return parse(_text(path))
    except ValueError as error:
        raise UsageError(f"{path}: {error}; {_AGAIN}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def parse(text: str) -> Inventory:
    """Raises ValueError that names the first thing wrong."""
    data = _fields(text)
    try:
        # As JSON once more: only there does strict reading take a list for a tuple.
        inventory = _INVENTORY.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    expected = _INVENTORY.dump_python(inventory, mode="json")
    for problem in (*_strangers(data, expected, ""), *_nonsense(inventory)):
        raise ValueError(problem)
    return inventory


def _fields(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(data, dict) or "version" not in data:
        raise ValueError("is no snapshot of a box: it has no `version`")
    version = data.pop("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"version: {version!r} is not known, this Roundhouse reads {VERSION}")
    return data


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = ""
    for part in problem["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    if problem["type"] == "missing":
        return f"{place[1:]}: is missing"
    message = str(problem["msg"])
    message = f"{message[:1].lower()}{message[1:]}"
    value = problem["input"]
    return f"{place[1:]}: {message}" + (
        "" if isinstance(value, dict | list) else f", not {value!r}"
    )


def _strangers(given: Any, expected: Any, at: str) -> Iterator[str]:
    """Fields that no inventory has, and those left out that have a default."""
    if isinstance(given, dict) and isinstance(expected, dict):
        place = f"{at}." if at else ""
        for name in given.keys() - expected.keys():
            yield f"{place}{name}: unknown field"
        for name in sorted(expected.keys() - given.keys()):
            yield f"{place}{name}: is missing (null, if it is not known)"
        for name in sorted(given.keys() & expected.keys()):
            yield from _strangers(given[name], expected[name], f"{place}{name}")
    elif isinstance(given, list) and isinstance(expected, list):
        for index, (one, other) in enumerate(zip(given, expected, strict=True)):
            yield from _strangers(one, other, f"{at}[{index}]")


def _nonsense(inventory: Inventory) -> Iterator[str]:
    """What has the right type and still cannot be."""
    seen: set[int] = set()
    for place, gpu in enumerate(inventory.gpus):
        for name in ("total_bytes", "reserved_bytes", "used_bytes", "free_bytes"):
            if (getattr(gpu, name) or 0) < 0:
                yield f"gpus[{place}].{name}: {getattr(gpu, name)} is less than 0"
        if gpu.free_bytes is not None and gpu.free_bytes > (gpu.cuda_total_bytes or 0):
            yield f"gpus[{place}].free_bytes: is more than total_bytes less reserved_bytes"
        if gpu.index in seen:
            yield f"gpus[{place}].index: {gpu.index} stands twice"
        seen.add(gpu.index)
