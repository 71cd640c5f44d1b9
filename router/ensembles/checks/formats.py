"""Checks that need nothing but the text: its length, its language, a number with its unit."""

from __future__ import annotations

import re

# Of the letters of a text. A Korean text has names and terms in Latin letters.
_KOREAN_SHARE, _ENGLISH_SHARE = 0.3, 0.95
_HANGUL = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]")
_LATIN = re.compile(r"[A-Za-z]")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# What may follow a unit is no letter of its script: "5 m" is not in "5 miles", but in "5m 입니다".
_AFTER_LATIN, _AFTER_HANGUL = r"(?![A-Za-z0-9])", ""


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
    after = _AFTER_LATIN if _LATIN.match(unit[-1]) else _AFTER_HANGUL
    wanted = re.compile(rf"\d[\d,.]*(?:\s?[천만억조])?\s*{re.escape(unit)}{after}")
    before = re.compile(rf"{re.escape(unit)}\s*\d")  # of currencies: $5
    found = wanted.search(text) or before.search(text)
    return None if found else f"no number with the unit {unit!r}"
