"""From a model's `source` to a folder on this disk: a path, the embedded model, or a hub id."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from common.errors import ConfigError, ModelFetchError
from engines import embedded

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# Formats that vLLM does not load, and files that no engine reads.
_IGNORED = ["*.gguf", "*.pth", "*.pt", "*.msgpack", "*.h5", "*.onnx", "original/*", "*.md", "*.png"]
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
    if not _HUB_ID.fullmatch(source) or source.startswith((".", "~")):
        raise ConfigError(
            f"{place}: {source!r} is no folder on this disk and no hub id (owner/name); "
            f"embedded models: {', '.join(f'embedded:{name}' for name in embedded.EMBEDDED)}"
        )
    return _from_hub(place, source, progress)


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


def _from_hub(place: str, hub_id: str, progress: Progress) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    with suppress(LocalEntryNotFoundError):
        here = Path(snapshot_download(hub_id, ignore_patterns=_IGNORED, local_files_only=True))
        if weights_bytes(here):  # a plan leaves the config alone in the cache
            return here
    progress(f"fetching {hub_id} from the hub")
    try:
        return Path(snapshot_download(hub_id, ignore_patterns=_IGNORED))
    except GatedRepoError:
        raise ModelFetchError(
            f"{place}: {hub_id} is gated: accept its terms on the hub, then set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise ModelFetchError(
            f"{place}: the hub has no model {hub_id!r} (or it is private: set HF_TOKEN)"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelFetchError(
            f"{place}: {hub_id} is not in the hub's cache on this disk, and the hub cannot be "
            f"reached ({type(error).__name__}); use a folder, or embedded:smollm2"
        ) from None
