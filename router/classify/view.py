"""A text as the patterns look at it: a zone for each script, and plain signals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from router.classify.conversation import Conversation
from router.classify.signals import signals_of
from router.classify.zones import (
    Zone,
    ask_of,
    compact_zone,
    latin_zone,
    without_courtesies,
    without_quotations,
)

Script = Literal["en", "ko", "any"]
SCRIPTS: tuple[Script, ...] = get_args(Script)

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HANGUL = re.compile(r"[가-힣]")
_LATIN = re.compile(r"[a-z]")


@dataclass(frozen=True)
class View:
    """The zone of `en` is lower case, that of `ko` has no spaces, that of `any` has all.

    A zone is None where the text has no letter of the script.
    """

    zones: Mapping[Script, Zone | None]
    signals: frozenset[str]


def view_of(text: str, conversation: Conversation, misspellings: Mapping[str, str]) -> View:
    lower = without_courtesies(text.lower())
    prose = _FENCE.sub("\n", lower) if "```" in lower else lower
    prose = without_quotations(prose.strip() or lower)
    ask = ask_of(prose)
    has_hangul = _HANGUL.search(ask) is not None
    return View(
        zones={
            "en": latin_zone(ask, has_hangul, misspellings) if _LATIN.search(ask) else None,
            "ko": compact_zone(ask) if has_hangul else None,
            "any": Zone(lower, 0, len(lower)),
        },
        signals=signals_of(text, prose, conversation),
    )
