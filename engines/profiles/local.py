"""What this disk has that could be served: the hub's cache, GGUF folders, embedded models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines import embedded
from engines.hub import cache
from engines.hub.selection import RemoteFile

Where = Literal["hub cache", "folder", "embedded"]


@dataclass(frozen=True)
class LocalModel:
    """`source` is what the config or the command line may name; `path` is where its files are."""

    source: str
    where: Where
    path: Path
    n_bytes: int


def models(model_dirs: Iterable[str] = ()) -> list[LocalModel]:
    return [*_embedded(), *_cached(), *(each for text in model_dirs for each in in_folder(text))]


def in_folder(text: str) -> Iterator[LocalModel]:
    """GGUF files and model folders at any depth; a missing one is empty."""
    folder = Path(text).expanduser()
    files = sorted(folder.rglob("*.gguf"))
    sized = [RemoteFile(str(file), file.stat().st_size) for file in files if file.is_file()]
    for first, n_bytes in cache.whole_ggufs(sized).items():
        yield LocalModel(first, "folder", Path(first), n_bytes)
    for config in sorted(folder.rglob("config.json")):
        weights = sorted(config.parent.glob("*.safetensors"))
        if weights:
            n_bytes = sum(file.stat().st_size for file in weights)
            yield LocalModel(str(config.parent), "folder", config.parent, n_bytes)


def _embedded() -> Iterator[LocalModel]:
    """Those that have been fetched."""
    for name in embedded.EMBEDDED:
        if path := embedded.cached_path(name):
            yield LocalModel(f"embedded:{name}", "embedded", path, _size(path))
        if file := embedded.cached_gguf(name):
            yield LocalModel(f"embedded:{name}-gguf", "embedded", file, file.stat().st_size)


def _cached() -> Iterator[LocalModel]:
    for model in cache.models():
        yield LocalModel(model.name, "hub cache", model.path, model.n_bytes)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
