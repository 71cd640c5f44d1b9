"""From a model's `source` to a GGUF file on this disk: a path, the embedded model, or a hub's file.

A file of a hub is named OWNER/NAME/FILE.gguf.
"""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import ConfigError, ModelFetchError
from engines import embedded
from engines.sources import Progress

_HUB_FILE = re.compile(r"(?P<hub_id>[A-Za-z0-9][\w.-]*/[\w.-]+)/(?P<file>[^\s]+\.gguf)")
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_MAGIC = b"GGUF"
_SUFFIX = "-gguf"


def resolve(model: str, source: str, progress: Progress) -> Path:
    """The file, fetched if need be.

    Raises ConfigError when the source cannot be right, ModelFetchError when it cannot be had.
    """
    place = f"models.{model}.source"
    if source.startswith("embedded:"):
        return _embedded(place, source.removeprefix("embedded:"), progress)
    if _PART.search(source):
        raise ConfigError(
            f"{place}: {source} is one part of a model; merge them into one file first "
            "(llama.cpp's llama-gguf-split --merge)"
        )
    path = Path(source).expanduser()
    if path.exists():
        return _checked(place, _only_file(place, path) if path.is_dir() else path)
    found = _HUB_FILE.fullmatch(source)
    if found is None or source.startswith((".", "~", "/")):
        raise ConfigError(
            f"{place}: {source!r} is no file on this disk and no file of a hub "
            f"(owner/name/FILE.gguf); embedded models: {', '.join(embedded_names())}"
        )
    return _from_hub(place, found["hub_id"], found["file"], progress)


def embedded_names() -> list[str]:
    return [f"embedded:{name}{_SUFFIX}" for name in embedded.EMBEDDED]


def _embedded(place: str, name: str, progress: Progress) -> Path:
    base = name.removesuffix(_SUFFIX)
    if base == name or base not in embedded.EMBEDDED:
        raise ConfigError(
            f"{place}: there is no embedded GGUF model {name!r}; "
            f"there are: {', '.join(embedded_names())}"
        )
    return embedded.cached_gguf(base) or embedded.fetch_gguf(base, progress)


def _only_file(place: str, folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        held = f"several: {', '.join(f.name for f in files)}; name one" if files else "none"
        raise ConfigError(f"{place}: {folder} should hold one .gguf file, and holds {held}")
    return files[0]


def _checked(place: str, file: Path) -> Path:
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(f"{place}: {file} cannot be read: {error.strerror}") from None
    if magic != _MAGIC:
        raise ConfigError(f"{place}: {file} is no GGUF file (it does not begin with GGUF)")
    return file.resolve()


def _from_hub(place: str, hub_id: str, file: str, progress: Progress) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(hub_id, file, local_files_only=True))
    except LocalEntryNotFoundError:
        progress(f"fetching {hub_id}/{file} from the hub")
    try:
        return Path(hf_hub_download(hub_id, file))
    except GatedRepoError:
        reason = f"{hub_id} is gated: accept its terms on the hub, then set HF_TOKEN"
    except RepositoryNotFoundError:
        reason = f"the hub has no model {hub_id!r} (or it is private: set HF_TOKEN)"
    except RemoteEntryNotFoundError:
        reason = f"{hub_id} has no file {file!r}"
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = (
            f"{hub_id}/{file} is not in the hub's cache on this disk, and the hub cannot be "
            f"reached ({type(error).__name__}); use a file, or embedded:smollm2-gguf"
        )
    raise ModelFetchError(f"{place}: {reason}")
