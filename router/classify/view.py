"""A text as the patterns look at it: a zone for each script, and plain signals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from router.classify.conversation import Conversation
from router.classify.signals import signals_of
from router.classify.spelling import Spelling
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
# Words that speak of a program, and words that point at something pasted.
_OF_CODE = re.compile(
    r"""\b(?:code|functions?|scripts?|errors?|bugs?|exceptions?|output|prints?|compile\w*|runs?
    |running|crash\w*|loop|class|method|query|snippet|program|refactor|debug|docstring|tests?
    |optimi[sz]e|broken)\b
    |코드|함수|에러|오류|버그|실행|출력|컴파일|돌리|돌렸|쿼리|리팩|디버|테스트|주석|안\s?돼|안돼""",
    re.VERBOSE,
)
_POINTING = re.compile(
    r"""\b(?:this|that|these|those|it|its|here|below|above|following|wrong|fix|explain|review|improve)\b
    |이거|이것|이게|이걸|여기|아래|다음|위에|위의|(?:^|\s)이\s|고쳐|봐줘""",
    re.VERBOSE,
)
# Material of its own that such a word may point at instead.
_OWN_MATERIAL = re.compile(r":\s*\S.{15}|\n.{40}|[\"“「『].{10,}[\"”」』]", re.DOTALL)
_LEAST_OWN_WISH = 5


@dataclass(frozen=True)
class View:
    """The zone of `en` is lower case, that of `ko` has no spaces, that of `any` has all.

    A zone is None where the text has no letter of the script.
    """

    zones: Mapping[Script, Zone | None]
    signals: frozenset[str]
    n_prose_chars: int = 0  # without code blocks and courtesies


def view_of(text: str, conversation: Conversation, spelling: Spelling) -> View:
    lower = without_courtesies(text.lower())
    prose = lower
    if "```" in lower:
        prose = without_courtesies(_FENCE.sub("\n", lower).strip())
        if _is_aside(prose):
            text, lower = _FENCE.sub("\n", text), prose
    prose = without_quotations(prose or lower)
    ask = ask_of(prose)
    has_hangul = _HANGUL.search(ask) is not None
    return View(
        zones={
            "en": latin_zone(ask, has_hangul, spelling) if _LATIN.search(ask) else None,
            "ko": compact_zone(ask, spelling) if has_hangul else None,
            "any": Zone(lower, 0, len(lower)),
        },
        signals=signals_of(text, prose, conversation),
        n_prose_chars=len(prose),
    )


def _is_aside(prose: str) -> bool:
    """Whether the wish is complete without the code block, and has nothing to do with it."""
    if len(prose) < _LEAST_OWN_WISH or _OF_CODE.search(prose):
        return False
    return not _POINTING.search(prose) or _OWN_MATERIAL.search(prose) is not None
