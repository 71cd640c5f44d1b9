"""What a model's files on this disk tell the router: context length, what it takes, tools, size.

Of a model whose files are elsewhere its engine tells the same.
"""

from __future__ import annotations

import logging

from common.config import Config
from engines.profiles import memory
from engines.profiles import profile as profiles
from engines.profiles.found import Found, found
from router.catalog.profile import Facts

_log = logging.getLogger(__name__)
_BILLION = 1e9
_READ_FILES = {"vllm", "llamacpp", "mlx"}  # to the others a source is a name or a URL


def facts_on_disk(config: Config, name: str) -> Facts:
    """Nothing is fetched; what is not here is not known. A change since the last time is logged."""
    model = config.models[name]
    if config.engine_of(name) not in _READ_FILES:
        return facts_in(profiles.by_hand(model))
    told = profiles.of_source(model.sources[0])
    for change in memory.changes(model.sources[0], told):
        _log.warning("the files of %s (%s) changed: %s", name, model.sources[0], change)
    return facts_in(profiles.settled(model, told))


def note_told(config: Config, name: str, facts: Facts) -> None:
    """Logs what an engine tells of a model otherwise than the last time, before a restart too."""
    engine, source = config.engine_of(name), config.models[name].sources[0]
    if engine in _READ_FILES:
        return
    takes = tuple(sorted(facts.modalities or ()))
    size = None if facts.size_b is None else round(facts.size_b * _BILLION)
    told = found(engine, modalities=takes, tools=facts.tools, params=size)
    for change in memory.changes(f"{engine} {source}", told):
        _log.warning("what %s tells of %s (%s) changed: %s", engine, name, source, change)


def facts_in(told: Found) -> Facts:
    params, modalities = told.get("params"), told.get("modalities")
    return Facts(
        max_model_len=told.get("max_model_len"),
        modalities=frozenset(modalities) if modalities else None,
        tools=told.get("tools"),
        size_b=params / _BILLION if params else None,
    )
