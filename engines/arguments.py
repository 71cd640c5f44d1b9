"""`engine_args` of an engine whose parameters are listed by us: names, types, and what is ours.

So that a typing error is told before anything is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from common.errors import ConfigError


def check(
    engine: str,
    model: str,
    given: Mapping[str, Any],
    known: Mapping[str, type],
    ours: Mapping[str, str],
    slots: str,
) -> None:
    """Raises ConfigError for a name that is not known, or a value that cannot be right.

    `ours` holds what Roundhouse decides itself, and where a user says it instead; `slots` is the
    argument that sets how many requests a replica works on at once.
    """
    for name, value in given.items():
        place = f"models.{model}.engine_args.{name}"
        if name in ours:
            raise ConfigError(f"{place}: is set by Roundhouse; use {ours[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            listed = f"there are: {', '.join(sorted(known))}"
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else listed
            raise ConfigError(f"{place}: is no argument of engine {engine}; {hint}")
        if not _is_a(value, known[name]):
            raise ConfigError(f"{place}: {value!r} is no {known[name].__name__}")
        if name == slots and value < 1:
            raise ConfigError(f"{place}: must be 1 or more, not {value}")


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
