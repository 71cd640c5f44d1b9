"""Texts with named places in braces, as the steps of a chain have them: `{question}`.

A name between double braces stands for itself, `{{question}}`; any other brace is text, so that
JSON and code need no care.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"[A-Za-z_][\w.-]*"
_PLACE = re.compile(rf"\{{\{{(?P<literal>{_NAME})\}}\}}|\{{(?P<name>{_NAME})\}}")


def names(template: str) -> tuple[str, ...]:
    """Each once, in the order of the text."""
    found = (match["name"] for match in _PLACE.finditer(template))
    return tuple(dict.fromkeys(name for name in found if name))


def filled(template: str, values: Mapping[str, str]) -> str:
    """In one go, so that braces within a value are never taken for a place."""

    def value(match: re.Match[str]) -> str:
        return values[match["name"]] if match["name"] else f"{{{match['literal']}}}"

    return _PLACE.sub(value, template)
