"""What differs between two configs, and whether a running server can take it over. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.config import Config
from engines import registry

# Of a model's entry: what the router alone goes by.
_OF_AUTO = ("tasks", "quality", "cost_per_million_tokens", "modalities", "tools")
_LIVE = frozenset((*_OF_AUTO, "aliases", "max_in_flight", "keep_alive", "pinned", "load"))
_TIMEOUTS = ("load_timeout", "first_token_timeout", "stall_timeout")
_FIXED = frozenset(
    (
        *("server", "gpu", "version"),
        *(f"defaults.{key}" for key in _TIMEOUTS),
        *(f"router.{key}" for key in ("policy", "hedge", "resume", "second_stage", "learning")),
    )
)


@dataclass(frozen=True)
class Changes:
    """Names of models; `settings` are keys that change where they are, by their place in the file.

    `changed` are models that have to be loaded, or reached, anew. `fixed`: what needs a restart.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    settings: tuple[str, ...]
    fixed: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.settings or self.fixed)


def changes(before: Config, after: Config) -> Changes:
    both = [name for name in after.models if name in before.models]
    changed = [name for name in both if _essence(before, name) != _essence(after, name)]
    settings = list(_differing(before, after))
    fixed = [key for key in settings if key in _FIXED or key.partition(".")[0] in _FIXED]
    return Changes(
        added=tuple(name for name in after.models if name not in before.models),
        removed=tuple(name for name in before.models if name not in after.models),
        changed=tuple(changed),
        unchanged=tuple(name for name in both if name not in changed),
        settings=tuple(key for key in settings if key not in fixed),
        fixed=(*fixed, *_moved(before, after, changed), *_asked_first(after, changed)),
    )


def is_owned(config: Config, name: str) -> bool:
    """Its processes are ours."""
    return config.engine_of(name) in registry.OWNED


def _essence(config: Config, name: str) -> tuple[Any, ...]:
    """What its processes, or the way to it, are made of."""
    engine = config.engine_of(name)
    ollama = config.ollama.model_dump() if engine == "ollama" else None
    return engine, config.models[name].model_dump(exclude=set(_LIVE)), ollama


def _differing(before: Config, after: Config) -> Iterator[str]:
    one, other = (c.model_dump(by_alias=True, exclude={"models"}) for c in (before, after))
    for section in one:
        yield from _within(section, one[section], other[section])
    for name in after.models:
        if name in before.models:
            old, new = (c.models[name].model_dump(include=set(_LIVE)) for c in (before, after))
            yield from (f"models.{key}" for key in _within(name, old, new))


def _within(place: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = dict.fromkeys((*one, *other))
        yield from (f"{place}.{key}" for key in keys if one.get(key) != other.get(key))
    elif one != other:
        yield place


def _moved(before: Config, after: Config, changed: list[str]) -> Iterator[str]:
    for name in changed:
        old, new = before.engine_of(name), after.engine_of(name)
        if old != new and not (is_owned(before, name) and is_owned(after, name)):
            yield f"models.{name}.engine ({old} to {new}; or remove it first, then add it)"


def _asked_first(after: Config, changed: list[str]) -> Iterator[str]:
    stage = after.router.second_stage
    if stage and stage.model in changed and not is_owned(after, stage.model):
        yield f"models.{stage.model} (router.second_stage asks it)"
