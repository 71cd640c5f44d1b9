"""A model's profile: what its files tell, and above that what the user wrote of it."""

from __future__ import annotations

from pathlib import Path

from common.config import ModelConfig
from engines import embedded
from engines.hub import cache
from engines.hub.reference import parse
from engines.profiles.found import Found, found
from engines.profiles.look import look

_GGUF = "-gguf"


def of_config(model: ModelConfig) -> Found:
    """The user's word on a model, over what is found of it on this disk."""
    return settled(model, of_source(model.sources[0]))


def settled(model: ModelConfig, told: Found) -> Found:
    """The user's word over the files'; a chat template of the user's own may know tools or not."""
    if any("chat_template" in argument for argument in model.engine_args):
        kept = {k: v for k, v in told.traits.items() if k not in {"tools", "chat_template"}}
        told = Found(kept, told.notes)
    return by_hand(model).over(told)


def by_hand(model: ModelConfig) -> Found:
    length = model.max_model_len
    takes = None if model.modalities is None else dict.fromkeys(("text", *model.modalities))
    return found(
        "config",
        max_model_len=None if length == "auto" else length,
        modalities=None if takes is None else tuple(takes),
        tools=model.tools,
        quantization=model.quantization,
    )


def of_source(source: str) -> Found:
    """Empty for what is not on this disk."""
    path = local_path(source)
    return look(path) if path else Found()


def local_path(source: str) -> Path | None:
    """Where the files of a source are, without fetching any; None where they are not here."""
    if source.startswith("embedded:"):
        return _embedded(source.removeprefix("embedded:"))
    if source.startswith(("http://", "https://")):
        return None
    path = Path(source).expanduser()
    if path.exists():
        return path
    asked = parse(source)
    return cache.path_of(asked) if asked else None


def _embedded(name: str) -> Path | None:
    base = name.removesuffix(_GGUF)
    if base not in embedded.EMBEDDED:
        return None
    return embedded.cached_path(name) if base == name else embedded.cached_gguf(base)
