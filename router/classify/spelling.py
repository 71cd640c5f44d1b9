"""Common slips of the keyboard in the few words that decide, put right before looking."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

# A letter less makes another real word of a short word too easily: many, may, any.
_LEAST_TO_DROP = 6
_WORD = re.compile(r"[a-z]{3,}")


def misspellings(words: Iterable[str]) -> Mapping[str, str]:
    """Wrong to right: two letters swapped, one doubled, and in longer words one missing."""
    right = set(words)
    return {slip: word for word in sorted(right) for slip in _slips(word) if slip not in right}


def mend(text: str, wrong: Mapping[str, str]) -> str:
    if wrong.keys().isdisjoint(_WORD.findall(text)):
        return text
    return _WORD.sub(lambda match: wrong.get(match[0], match[0]), text)


def _slips(word: str) -> Iterator[str]:
    for at in range(len(word)):
        before, here, after = word[:at], word[at], word[at + 1 :]
        if after:
            yield before + after[0] + here + after[1:]
        yield before + 2 * here + after
        if len(word) >= _LEAST_TO_DROP:
            yield before + after
