"""What a model's files on this disk tell the router: context length, what it takes, tools, size."""

from __future__ import annotations

import logging

from common.config import Config
from engines.profiles import memory
from engines.profiles import profile as profiles
from engines.profiles.found import Found
from router.catalog.profile import Facts

_log = logging.getLogger(__name__)
_BILLION = 1e9
_READ_FILES = {"vllm", "llamacpp", "mlx"}  # to the others a source is a name or a URL


def facts_on_disk(config: Config, name: str) -> Facts:
    """Nothing is fetched; what is not here is not known. A change since the last time is logged."""
    model = config.models[name]
    if config.engine_of(name) not in _READ_FILES:
        return facts_in(profiles.by_hand(model))
    found = profiles.of_source(model.sources[0])
    for change in memory.changes(model.sources[0], found):
        _log.warning("the files of %s (%s) changed: %s", name, model.sources[0], change)
    return facts_in(profiles.settled(model, found))


def facts_in(found: Found) -> Facts:
    params, modalities = found.get("params"), found.get("modalities")
    return Facts(
        max_model_len=found.get("max_model_len"),
        modalities=frozenset(modalities) if modalities else None,
        tools=found.get("tools"),
        size_b=params / _BILLION if params else None,
    )
