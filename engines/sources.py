"""From a model's `source` to a folder on this disk: a path, the embedded model, or a hub id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.errors import ConfigError, UsageError
from engines import embedded
from engines.hub.fetch import fetch
from engines.hub.pull import Listing
from engines.hub.reference import parse
from engines.hub.selection import weights_of

Progress = Callable[[str], None]


def resolve(model: str, source: str, progress: Progress) -> Path:
    """The model's folder, fetched if need be.

    Raises ConfigError when the source cannot be right, ModelFetchError when it cannot be had.
    """
    place = f"models.{model}.source"
    if source.startswith("embedded:"):
        return _embedded(place, source.removeprefix("embedded:"), progress)
    path = Path(source).expanduser()
    if path.exists():
        return _folder(place, path)
    asked = parse(source)
    if asked is None or asked.wanted:
        raise ConfigError(
            f"{place}: {source!r} is no folder on this disk and no hub id (owner/name, "
            "owner/name@REVISION); embedded models: "
            f"{', '.join(f'embedded:{name}' for name in embedded.EMBEDDED)}"
        )
    return fetch(place, asked, progress, _not_gguf)


def weights_bytes(folder: Path) -> int:
    """Bytes of the weight files, which is what loading them takes at their own precision."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors")) or sum(
        file.stat().st_size for file in folder.glob("*.bin")
    )


def _embedded(place: str, name: str, progress: Progress) -> Path:
    if name not in embedded.EMBEDDED:
        raise ConfigError(
            f"{place}: there is no embedded model {name!r}; "
            f"there are: {', '.join(embedded.EMBEDDED)}"
        )
    return embedded.cached_path(name) or embedded.fetch(name, progress)


def _folder(place: str, path: Path) -> Path:
    if not (path / "config.json").is_file():
        raise ConfigError(f"{place}: {path} holds no config.json, so it is no model folder")
    return path.resolve()


def _not_gguf(found: Listing) -> None:
    if weights_of(found.files)[0].name.suffix == ".gguf":
        raise UsageError(
            f"{found.asked} holds GGUF files, which engine llamacpp alone loads here: set "
            "`engine: llamacpp`, or name a repository with safetensors"
        )
