"""From a model's `source` to a GGUF file on this disk: a path, the embedded model, or a hub's file.

A file of a hub is named owner/name:Q4_K_M, owner/name:FILE.gguf or owner/name/FILE.gguf.
"""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import ConfigError, ModelFetchError, UsageError
from engines import embedded
from engines.hub import header
from engines.hub.fetch import fetch
from engines.hub.pull import Listing
from engines.hub.reference import Reference, parse
from engines.hub.selection import weights_of
from engines.sources import Progress
from placement.models.facts import ModelFacts

_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_MERGE = "llama.cpp's llama-gguf-split --merge"
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
            f"{place}: {source} is one part of a model; merge them into one file first ({_MERGE})"
        )
    path = Path(source).expanduser()
    if path.exists():
        return _checked(place, _only_file(place, path) if path.is_dir() else path)
    asked = parse(source)
    if asked is None or (source.endswith(".gguf") and not asked.wanted):
        raise ConfigError(
            f"{place}: {source!r} is no file on this disk and no file of a hub (owner/name:Q4_K_M, "
            f"owner/name/FILE.gguf); embedded models: {', '.join(embedded_names())}"
        )
    return fetch(place, asked, progress, _one_whole_file)


def facts(model: str, asked: Reference) -> ModelFacts:
    """What a plan must know of a hub's file; only its header is fetched. Raises as `resolve`."""
    place = f"models.{model}.source"
    try:
        return header.facts_of(asked, _one_whole_file)
    except UsageError as error:
        raise ConfigError(f"{place}: {error.message}") from None
    except ModelFetchError as error:
        raise ModelFetchError(f"{place}: {error.message}") from None


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


def _one_whole_file(found: Listing) -> None:
    """llama.cpp would find the other parts, but a plan reads one file's table of tensors."""
    weights = weights_of(found.files)
    if weights[0].name.suffix != ".gguf":
        raise UsageError(
            f"{found.asked} holds other weights than GGUF files, which engine llamacpp does not "
            "load; name a repository of GGUF files, with :FILE.gguf or :Q4_K_M"
        )
    if len(weights) > 1:
        raise UsageError(
            f"{found.asked} is a model of {len(weights)} parts; take a smaller quantization, or "
            f"`roundhouse pull` it and merge them ({_MERGE})"
        )
