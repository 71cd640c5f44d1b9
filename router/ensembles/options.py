"""Options of a multiple choice: A to J, ① to ⑩, 3번, 가나다라. Circled digits are digits."""

from __future__ import annotations

import re

_CIRCLED = {chr(0x2460 + i): str(i + 1) for i in range(10)}
_LONGEST = 60  # characters of an option with all that may stand around it
_KOREAN = "가나다라마바사"
_ONE = (
    r"(?P<circled>[①-⑩])"
    r"|(?P<upper>[A-J])(?![A-Za-z0-9'])"
    r"|(?P<lower>[a-j])(?=\s*(?:[).:]|$))"
    r"|(?P<digit>\d{1,2})(?=\s*번|\s*[).:]|\s*$)"
    rf"|(?P<korean>[{_KOREAN}])(?=\s*[).:,]|\s*$|입니다|이다|번|이|가)"
)
_LEADING = re.compile(rf"[\s(\[*<]*(?:(?:[Oo]ption|[Cc]hoice|보기|선택지)\s*)?[\s(\[*]*(?:{_ONE})")
_LONE = re.compile(
    rf"[\s(\[*<]*(?:(?:[Oo]ption|[Cc]hoice|보기|선택지)\s*)?[\s(\[*]*(?:{_ONE})"
    r"[\s)\].:*>]*(?:번)?(?:입니다|이다|이에요|예요)?[\s.]*"
)
_STRONG = re.compile(
    r"\((?P<lower>[a-j])\)|\((?P<korean>[가나다라마바사])\)|(?P<circled>[①-⑩])"
    r"|(?P<digit>\d{1,2})\s?번|(?<![A-Za-z0-9'])(?P<upper>[A-J])(?=[).:,]|\s*$)"
)
_WEAK = re.compile(r"(?<![A-Za-z0-9'])(?P<upper>[A-E])(?![A-Za-z0-9'])(?!\s+[a-z])")
_LISTED = re.compile(r"(?:^|[\s(])(?:([A-E])[).:]|([①-⑤])|([가나다라마])[).])", re.MULTILINE)


def leading(text: str) -> str | None:
    """The option that a text begins with."""
    return _name(_LEADING.match(text.strip()[:_LONGEST]))


def lone(text: str) -> str | None:
    """The option that a text consists of."""
    text = text.strip()
    return _name(_LONE.fullmatch(text)) if len(text) <= _LONGEST else None


def last(text: str) -> str | None:
    """The option that is named last, by preference one that stands like an option."""
    for pattern in (_STRONG, _WEAK):
        found = list(pattern.finditer(text))
        if found:
            return _name(found[-1])
    return None


def are_listed(question: str) -> bool:
    """Does the question offer options?"""
    return len({match[0].strip(" (\n") for match in _LISTED.finditer(question)}) >= 2


def _name(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    found = {key: value for key, value in match.groupdict().items() if value}
    ((kind, value),) = found.items()
    if kind == "circled":
        return _CIRCLED[value]
    return str(int(value)) if kind == "digit" else value.upper()
