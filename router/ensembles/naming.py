"""From a model's name to what it asks of an ensemble: `ensemble:council`, `ensemble:vote:5`,
`ensemble:vote:5:qwen3`, `ensemble:compare:a+b`, `cascade:small>large`.

Models' names may hold `:` and `+` themselves, so names that exist win over separators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from common.errors import BadRequestError, ModelNotFoundError

PREFIX = "ensemble"
_CASCADE = "cascade"
_COUNT = re.compile(r"(?P<n>\d{1,4})(?::(?P<rest>.+))?")

# What a name says of an ensemble, as the keys of its section; `kind` among them.
Keys = dict[str, Any]
Form = Callable[[str, Collection[str]], Keys]


def is_ensemble(name: str | None) -> bool:
    return name is not None and (name == PREFIX or name.startswith((f"{PREFIX}:", f"{_CASCADE}:")))


def split(text: str, separator: str, models: Collection[str]) -> tuple[str, ...]:
    """At each place the longest name that is a model's and stands before a separator or the end."""
    names: list[str] = []
    while text:
        known = (m for m in models if text == m or text.startswith(m + separator))
        name = max(known, key=len, default="") or text.partition(separator)[0]
        names.append(name)
        text = text[len(name) + len(separator) :]
    return tuple(names)


def _members(separator: str) -> Form:
    def form(rest: str, models: Collection[str]) -> Keys:
        return {"members": split(rest, separator, models)} if rest else {}

    return form


def _samples(rest: str, models: Collection[str]) -> Keys:
    """`5`, `5:a+b` or `a+b`."""
    counted = None if rest in models else _COUNT.fullmatch(rest)
    if counted is None:
        return _members("+")(rest, models)
    return {"samples": int(counted["n"]), **_members("+")(counted["rest"] or "", models)}


# After `ensemble:KIND:`. A kind that is not here has no name of its own; it needs the config.
FORMS: Mapping[str, Form] = {
    "vote": _samples,
    "best_of": _samples,
    "fuse": _members("+"),
    "compare": _members("+"),
    "decompose": _members("+"),
    "cascade": _members(">"),
    "verify": _members(">"),
}


def keys_of(name: str, models: Collection[str], kinds: Collection[str]) -> Keys | None:
    """What a name says after its kind. None where it names an ensemble of the config.

    Raises BadRequestError for a kind without names.
    """
    head, _, rest = name.partition(":")
    if head == PREFIX:
        head, _, rest = rest.partition(":")
    if head not in kinds:
        return None
    if head not in FORMS:
        raise BadRequestError(
            f"model {name!r}: an ensemble of kind {head!r} is not named so; put it into the "
            "config's ensembles, or into routing.ensemble",
            param="model",
        )
    return {"kind": head, **FORMS[head](rest, models)}


def not_found(name: str, ensembles: Collection[str], kinds: Collection[str]) -> ModelNotFoundError:
    named = f"ensembles: {', '.join(ensembles)}" if ensembles else "no ensembles in the config"
    return ModelNotFoundError(
        f"no ensemble {name!r}; there are {named}; and kinds, as in {PREFIX}:KIND: "
        f"{', '.join(kinds)}",
        param="model",
    )
