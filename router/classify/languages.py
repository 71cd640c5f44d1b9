"""Which language a text is written in, by the shares of its letters. Enough for en and ko."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

LanguageCode = Literal["en", "ko", "other"]

# A Hangul syllable says about as much as this many Latin letters.
_SYLLABLE_LETTERS = 2.5
_READ_CHARS = 400
_KOREAN_SHARE = 0.4
_MIXED_SHARE = 0.15
_OTHER_SHARE = 0.5
_FOREIGN_WORDS = 3

_HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]+")
_LATIN = re.compile(r"[A-Za-z]+")
_OTHER = re.compile(r"[\u0370-\u1cff\u3040-\u30ff\u3400-\u9fff]+")
# Korean grammar on a foreign word, which only who speaks Korean writes.
_PARTICLE = re.compile(
    r"[A-Za-z](?:을|를|은|는|이|가|의|에|로|으로|와|과|도|해|하)(?=[\s가-힣?.!]|$)"
)
_WORD = re.compile(r"[^\W\d_]+")
# Frequent little words that English does not have, and such that it has.
_FOREIGN = frozenset(
    "el los las una que por para est esta está le les des une dans pour vous der die das und nicht "  # noqa: SIM905
    "ein eine ist wie il che di della per como com uma não het een och".split()
)
_ENGLISH = frozenset(
    "the of to is are was and you what how for with this that it please".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Language:
    """`mixed`: Hangul and Latin letters both carry part of the text."""

    code: LanguageCode
    mixed: bool = False


def language_of(text: str) -> Language:
    text = (
        text if len(text) <= _READ_CHARS else text[: _READ_CHARS // 2] + text[-_READ_CHARS // 2 :]
    )
    hangul = _letters(_HANGUL, text) * _SYLLABLE_LETTERS
    latin = _letters(_LATIN, text)
    other = _letters(_OTHER, text) * _SYLLABLE_LETTERS
    letters = hangul + latin + other
    if not letters:
        return Language("other")
    mixed = min(hangul, latin) / letters >= _MIXED_SHARE
    if hangul / letters >= _KOREAN_SHARE or _PARTICLE.search(text):
        return Language("ko", mixed)
    if other / letters >= _OTHER_SHARE or _is_foreign(text):
        return Language("other", mixed)
    return Language("en", mixed)


def _letters(script: re.Pattern[str], text: str) -> int:
    return sum(map(len, script.findall(text)))


def _is_foreign(text: str) -> bool:
    words = _WORD.findall(text.lower())
    foreign = sum(map(_FOREIGN.__contains__, words))
    return foreign >= _FOREIGN_WORDS and foreign > 2 * sum(map(_ENGLISH.__contains__, words))
