"""Checks that need nothing but the text: its length, its language, a number with its unit."""

from __future__ import annotations

import re

# Of the letters of a text. A Korean text has names and terms in Latin letters.
_KOREAN_SHARE, _ENGLISH_SHARE = 0.2, 0.95
_HANGUL = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]")
_LATIN = re.compile(r"[A-Za-z]")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# "5 m" does not stand in "5 miles", but it does in "5m입니다".
_MORE_OF_A_WORD = re.compile(r"[A-Za-z0-9]")
_NUMBER_BEFORE = re.compile(r"\d[.,]?\s?[십백천만억조]{0,2}\s{0,3}\Z")
_NUMBER_AFTER = re.compile(r"\s{0,3}\d")  # of currencies: $5
_NEAR_CHARS = 10  # patterns look no further, so that no text makes them slow


def wrong_length(text: str, least: int | None, most: int | None) -> str | None:
    if least is not None and len(text) < least:
        return f"{len(text)} characters, fewer than {least}"
    if most is not None and len(text) > most:
        return f"{len(text)} characters, more than {most}"
    return None


def wrong_language(text: str, wanted: str) -> str | None:
    """Code is in no language. A text without letters, a number say, is in any."""
    prose = _CODE.sub("", text)
    hangul, latin = len(_HANGUL.findall(prose)), len(_LATIN.findall(prose))
    letters = hangul + latin
    if not letters:
        return None
    korean = hangul / letters
    fits = korean >= _KOREAN_SHARE if wanted == "ko" else 1 - korean >= _ENGLISH_SHARE
    return None if fits else f"not in the language asked for ({wanted}): {korean:.0%} Hangul"


def without_unit(text: str, unit: str) -> str | None:
    """A Korean unit may be followed by a particle."""
    at = text.find(unit)
    while at >= 0:
        if _has_number(text, at, at + len(unit)):
            return None
        at = text.find(unit, at + 1)
    return f"no number with the unit {unit!r}"


def _has_number(text: str, begin: int, end: int) -> bool:
    is_sign = not text[end - 1].isalnum() or text[begin:end].isupper()  # $ or USD
    if is_sign and _NUMBER_AFTER.match(text[end : end + _NEAR_CHARS]):
        return begin == 0 or not _MORE_OF_A_WORD.match(text[begin - 1])
    if _LATIN.match(text[end - 1]) and _MORE_OF_A_WORD.match(text[end : end + 1]):
        return False
    return bool(_NUMBER_BEFORE.search(text[max(0, begin - _NEAR_CHARS) : begin]))
