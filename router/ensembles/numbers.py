"""Numbers as people write them in English and Korean: 1,234.5, $18, 50%, 1 1/2, 3만 5천 원, 1억.

Values are exact fractions. Currency, percent signs and units of measure do not count: 50% is 50,
since one member writes them and another does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3}(?!\w))?|\.\d+"
# A unit is none where it begins another word: 3만큼, 3조각, 2천사.
_SMALL = r"(?:십(?!자)|백(?!분|점)|천(?![사국]))"
_BIG = r"(?:만(?![족큼들나약일])|억(?!새)|조(?![각건금사직합]))"
_KOREAN = (
    rf"(?:{_PLAIN})\s?(?:{_SMALL}{_BIG}?|{_BIG})(?:\s?(?:{_PLAIN})(?:{_SMALL}{_BIG}?|{_BIG})?)*"
)
_SIGN = r"(?<![\w.)\]])[-\u2212+]\s?"
_MONEY = r"[$₩€£¥]\s?"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})?(?:{_MONEY}(?P<sign2>[-\u2212])?)?"
    rf"(?:(?P<korean>{_KOREAN})"
    r"|(?:(?P<whole>\d+)\s+)?(?P<top>\d+(?:\.\d+)?)\s?/\s?(?P<bottom>\d+(?:\.\d+)?)(?![\d/])"
    rf"|(?P<plain>{_PLAIN}))"
)
_PIECE = re.compile(rf"(?P<n>{_PLAIN})\s?(?P<small>[십백천]?)(?P<big>[만억조]?)")
_VALUES = {"": 1, "십": 10, "백": 100, "천": 1000, "만": 10**4, "억": 10**8, "조": 10**12}
_LONGEST = 100  # characters, units included; more is no number that anybody answers with
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\[,!;: ]|\\left|\\right|\\\(|\\\)"), ""),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\([%$])"), r"\1"),
)
# What may stand before and after the only number of an answer that is a number.
_BEFORE = re.compile(r"[\s$₩€£¥≈~(]*(?:약|총|about|approximately|exactly|KRW|USD)?[\s$₩€£¥(-]*")
_AFTER = re.compile(r"[\s%°)]*[^\W\d_]{0,20}(?:[\s/·^-]+[^\W\d_]{1,15}){0,3}[\s%.!。)]*")


def canonical(value: Fraction) -> str:
    """Equal values have equal texts: "18", "-7/2"."""
    return str(value)


def numbers(text: str) -> Iterator[tuple[Fraction, re.Match[str]]]:
    """Every number in it, in order, and where it stands."""
    for match in _NUMBER.finditer(text):
        value = _value(match) if len(match[0]) <= _LONGEST else None
        if value is not None:
            yield value, match


def last_number(text: str) -> Fraction | None:
    value = None
    for value, _ in numbers(plain(text)):  # noqa: B007  # the last one is what is wanted
        pass
    return value


def only_number(text: str) -> Fraction | None:
    """The number that a text consists of, but for currency and units; None for anything else."""
    text = re.split(r"[=≈]", plain(text))[-1].strip()
    if len(text) > _LONGEST:
        return None
    found = list(numbers(text))
    if len(found) != 1:
        return None
    ((value, match),) = found
    before, after = text[: match.start()], text[match.end() :]
    fits = _BEFORE.fullmatch(before) and _AFTER.fullmatch(after)
    return value if fits else None


def plain(text: str) -> str:
    """Without LaTeX's dress."""
    for pattern, by in _LATEX:
        text = pattern.sub(by, text)
    return text


def _value(match: re.Match[str]) -> Fraction | None:
    negative = (match["sign"] or "").strip() in ("-", "\u2212") or match["sign2"] is not None
    if match["korean"]:
        value = _korean(match["korean"])
    elif match["top"]:
        bottom = Fraction(match["bottom"])
        if not bottom:
            return None
        value = int(match["whole"] or 0) + Fraction(match["top"]) / bottom
    else:
        value = _read(match["plain"])
    return -value if negative else value


def _korean(text: str) -> Fraction:
    """3천 5백만 is (3000 + 500) times 10,000."""
    total = section = Fraction(0)
    for piece in _PIECE.finditer(text):
        section += _read(piece["n"]) * _VALUES[piece["small"]]
        if piece["big"]:
            total += section * _VALUES[piece["big"]]
            section = Fraction(0)
    return total + section


def _read(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))
