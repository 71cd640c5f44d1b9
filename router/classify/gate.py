"""Texts of which one must occur where a regular expression is to match.

Looking for a plain text is some fifty times faster than running an expression. Most patterns
are passed over by that alone, which keeps hundreds of them well under a millisecond.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

_MOST_TEXTS = 64
_parser: Any = getattr(re, "_parser", None)  # private in the standard library; see gate_of


def gate_of(expression: str) -> frozenset[str]:
    """Empty when nothing can be told; then the pattern is always run, only more slowly."""
    if _parser is None:
        return frozenset()
    texts = _best(_parser.parse(expression, re.MULTILINE)) or frozenset()
    return frozenset(t for t in texts if not any(o in t for o in texts if o != t))


@dataclass(frozen=True)
class Gates:
    """Many texts to look for at once: those are tried whose beginning occurs."""

    width: int
    by_beginning: Mapping[str, tuple[str, ...]]
    short: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], width: int) -> Gates:
        by_beginning = defaultdict(list)
        short = []
        for text in sorted(set(texts)):
            if len(text) < width:
                short.append(text)
            else:
                by_beginning[text[:width]].append(text)
        return cls(width, {k: tuple(v) for k, v in by_beginning.items()}, tuple(short))

    def found_in(self, text: str) -> frozenset[str]:
        pieces = {text[at : at + self.width] for at in range(len(text) - self.width + 1)}
        tried = (t for piece in self.by_beginning.keys() & pieces for t in self.by_beginning[piece])
        return frozenset(t for t in (*self.short, *tried) if t in text)


def _best(sequence: Any) -> frozenset[str] | None:
    """The most telling gate among the runs of a sequence that are surely passed."""
    runs: list[frozenset[str]] = []
    run = frozenset({""})
    for op, value in sequence:
        exact = _exact(str(op), value)
        if exact is not None and len(run) * len(exact) <= _MOST_TEXTS:
            run = frozenset(a + b for a, b in product(run, exact))
            continue
        runs.append(run)
        inner = exact or _inner(str(op), value)
        if inner:
            runs.append(inner)
        run = frozenset({""})
    runs.append(run)
    best = max(runs, key=lambda texts: (min(map(len, texts)), -len(texts)))
    return best if all(best) else None


def _inner(op: str, value: Any) -> frozenset[str] | None:
    if op == "SUBPATTERN":
        return _best(value[-1])
    if op in ("MAX_REPEAT", "MIN_REPEAT") and value[0] >= 1:
        return _best(value[-1])
    if op == "BRANCH":
        gates = [_best(branch) for branch in value[1]]
        if all(gates):
            return frozenset().union(*(gate for gate in gates if gate))
    return None


def _exact(op: str, value: Any) -> frozenset[str] | None:
    """All texts that a step can match, where they are few; None otherwise."""
    if op == "LITERAL":
        return frozenset({chr(value)})
    if op in ("AT", "ASSERT", "ASSERT_NOT"):
        return frozenset({""})
    if op == "IN":
        return _exact_set(value)
    if op == "SUBPATTERN":
        return _exact_all(value[-1])
    if op == "BRANCH":
        parts = [_exact_all(branch) for branch in value[1]]
        if all(part is not None for part in parts):
            return _few(frozenset().union(*(part for part in parts if part)))
    if op == "MAX_REPEAT" and value[:2] == (0, 1):
        once = _exact_all(value[2])
        return None if once is None else once | {""}
    return None


def _exact_all(sequence: Any) -> frozenset[str] | None:
    run = frozenset({""})
    for op, value in sequence:
        exact = _exact(str(op), value)
        if exact is None or len(run) * len(exact) > _MOST_TEXTS:
            return None
        run = frozenset(a + b for a, b in product(run, exact))
    return run


def _exact_set(members: Any) -> frozenset[str] | None:
    if all(str(op) == "LITERAL" for op, _ in members):
        return frozenset(chr(value) for _, value in members)
    return None


def _few(texts: frozenset[str]) -> frozenset[str] | None:
    return texts if len(texts) <= _MOST_TEXTS else None
