"""From a config's `source` that names a model of the hub to its files: those here, else pulled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from common.errors import ConfigError, ModelFetchError, UsageError
from engines.hub import cache
from engines.hub.lines import Lines
from engines.hub.pull import Check, path_of, pull
from engines.hub.reference import Reference

_INDEX = "model.safetensors.index.json"


def fetch(place: str, asked: Reference, tell: Callable[[str], None], check: Check) -> Path:
    """The folder, or the GGUF file. `check` refuses a form that the engine does not read, before
    anything large is fetched.

    Raises ConfigError where the name is not clear, ModelFetchError for what cannot be had.
    """
    if path := _here(asked, check):
        return path
    try:
        return pull(asked, Lines(str(asked), tell), check).path
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}") from None
    except ModelFetchError as error:
        raise ModelFetchError(f"{place}: {error.message}") from None


def _here(asked: Reference, check: Check) -> Path | None:
    """Of a repository of several forms another one may be here; then the hub is asked."""
    found = cache.listing_of(asked)
    if found is None:
        return None
    try:
        check(found)
    except UsageError:
        return None
    path = path_of(found)
    return path if _is_whole(path) else None


def _is_whole(path: Path) -> bool:
    """Other tools write the branch down before the weights; an index tells what there must be."""
    index = path / _INDEX
    if not index.is_file():
        return True
    try:
        named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return False
    return all((path / name).is_file() for name in named)
