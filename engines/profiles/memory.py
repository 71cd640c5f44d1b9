"""What the files of each source told last time, so that a change can be told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.instance import state_dir
from engines.profiles.found import Found


def changes(source: str, now: Found, file: Path | None = None) -> list[str]:
    """A few words for each trait that differs from the last time; remembers the new ones.

    Empty for a source that is seen for the first time, or of which nothing is known now.
    """
    file = file or state_dir() / "profiles.json"
    known = _read(file)
    before, after = known.get(source), _plain(now)
    if not after or before == after:
        return []
    _write(file, {**known, source: after})
    return difference(before, after) if before is not None else []


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*before, *after])
    return [
        f"{name}: {_word(before.get(name))} -> {_word(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _plain(told: Found) -> dict[str, Any]:
    return {
        name: list(trait.value) if isinstance(trait.value, tuple) else trait.value
        for name, trait in sorted(told.traits.items())
    }


def _word(value: Any) -> str:
    if value is None:
        return "not known"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {source: told for source, told in found.items() if isinstance(told, dict)}


def _write(file: Path, known: Mapping[str, Any]) -> None:
    """A disk that takes nothing costs the memory of it, and nothing else."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known, indent=1))
        partial.replace(file)
