"""JSON objects within what a model has said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from router.ensembles.extraction import without_thoughts

_TRIES = 50
_READ_CHARS = 50_000


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Those that stand in it, outermost only, in the order of the text."""
    text, at = without_thoughts(text)[:_READ_CHARS], 0
    for _ in range(_TRIES):
        at = text.find("{", at)
        if at < 0:
            return
        try:
            found, at = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        yield found
