"""The whole words that an expression looks for, so that slips of the keyboard can be known.

`write|summar(?:y|ies)` looks for write, summary and summaries; of `mathemat\\w+` no whole word is
known.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any

_MOST_TEXTS = 400
_OPEN = "\0"  # anything may follow or stand before: what touches it is no whole word
_parser: Any = getattr(re, "_parser", None)  # private in the standard library, as in gate.py


def words_of(expression: str, letters: str) -> frozenset[str]:
    """`letters`: the members of a character class, as `a-z`."""
    if _parser is None:
        return frozenset()
    found: set[str] = set()
    _texts(_parser.parse(expression, re.MULTILINE), found)
    apart = re.compile(rf"[^{letters}{_OPEN}]+")
    words = (word for text in found for word in apart.split(text))
    return frozenset(word for word in words if word and _OPEN not in word)


def _texts(sequence: Any, found: set[str]) -> frozenset[str]:
    """What a sequence can match; `found` gets what is too much to be carried on."""
    run = frozenset({""})
    for op, value in sequence:
        step = _step(str(op), value, found)
        if len(run) * len(step) > _MOST_TEXTS:
            found.update(text + _OPEN for text in run)
            run = frozenset({_OPEN})
            if len(step) > _MOST_TEXTS:
                found.update(step)
                step = frozenset({_OPEN})
        run = frozenset(a + b for a, b in product(run, step))
    found.update(run)
    return run


def _step(op: str, value: Any, found: set[str]) -> frozenset[str]:
    if op == "LITERAL":
        return frozenset({chr(value)})
    if op == "AT":
        return frozenset({" "})
    if op in ("ASSERT", "ASSERT_NOT"):
        return frozenset({""})
    if op == "SUBPATTERN":
        return _part(value[-1], found)
    if op == "BRANCH":
        return frozenset().union(*(_part(branch, found) for branch in value[1]))
    if op == "IN" and all(str(kind) == "LITERAL" for kind, _ in value):
        return frozenset(chr(code) for _, code in value)
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        return _repeated(value, found)
    return frozenset({_OPEN})


def _repeated(value: Any, found: set[str]) -> frozenset[str]:
    least, most, sequence = value
    once = _part(sequence, found)
    if most == 1:
        return once | {""}
    many = frozenset(text + _OPEN if text[-1:] != " " else " " for text in once)
    return many | {""} if least == 0 else many


def _part(sequence: Any, found: set[str]) -> frozenset[str]:
    """Within a longer text: its ends are not the ends of words."""
    inner: set[str] = set()
    run = _texts(sequence, inner)
    found.update(f"{_OPEN}{text}{_OPEN}" for text in inner - run)
    return run
