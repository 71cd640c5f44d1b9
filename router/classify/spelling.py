"""Common slips of the keyboard in the words that decide, put right before looking."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

# A letter less makes another real word of a short word too easily: many, may, any.
_LEAST_TO_DROP = 6
# Of words that nobody has looked through, only slips that hardly make another real word.
_LEAST_TO_DROP_UNSEEN = 8
_LEAST_TO_SWAP_UNSEEN = 5
_LEAST_TO_DOUBLE_UNSEEN = 4
_LEAST_SYLLABLES = 3
_MOST_SYLLABLES = 6
_WORD = re.compile(r"[a-z]{3,}")
_KOREAN_RUN = re.compile(r"[가-힣]{2,}")
# Real words that are a slip away from another one.
_REAL_WORDS = """
    there three pairs paris complies compiles trail trial angel angle casual causal diary dairy
    quiet quite united untied sacred scared silver sliver forth fourth coast costa marital martial
    summarise summaries steep step backed backend form from canon programme programmes parody
    selling korea advantage pints actor compete lease flies pleas sings reminder reactor sting
    suing tonne roost canoe unite untie fired fried tried tired bread beard board broad
    매일 문고 원은 거짓을 착하고 고하면 그사 기서"""
_REAL = frozenset(_REAL_WORDS.split())
_FIRST_SYLLABLE, _LAST_SYLLABLE, _VOWELS, _FINALS = 0xAC00, 0xD7A3, 21, 28
# Vowels whose keys or sounds lie close, in Unicode's numbers: ㅏㅓ ㅐㅔ ㅑㅕ ㅒㅖ ㅗㅜ ㅡㅣ ㅙㅚ.
_PAIRS = (
    (0, 4),
    (1, 5),
    (2, 6),
    (3, 7),
    (8, 13),
    (18, 20),
    (10, 11),
)  # ㅏㅓ ㅐㅔ ㅑㅕ ㅒㅖ ㅗㅜ ㅡㅣ ㅙㅚ
_NEAR_VOWELS = dict(_PAIRS) | {second: first for first, second in _PAIRS}


@dataclass(frozen=True)
class Spelling:
    """Wrong to right, for each script."""

    english: Mapping[str, str]
    korean: Mapping[str, str]

    @classmethod
    def of(cls, listed: Iterable[str], english: Iterable[str], korean: Iterable[str]) -> Spelling:
        """`listed` words of both scripts were looked through: of them more slips are known, and
        Korean ones may be short. `english` and `korean` are those that the patterns look for.
        """
        listed = frozenset(listed)
        ours = {word for word in listed if word.isascii()}
        return cls(
            english_slips(ours, frozenset(english)),
            korean_slips(listed - ours, frozenset(korean)),
        )

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(sorted({len(slip) for slip in self.korean}))

    def mend(self, text: str) -> str:
        if self.english.keys().isdisjoint(_WORD.findall(text)):
            return text
        return _WORD.sub(lambda match: self.english.get(match[0], match[0]), text)

    def mend_korean(self, text: str) -> str:
        """Of a text without spaces; the same length."""
        found = {
            run[at : at + n]
            for run in _KOREAN_RUN.findall(text)
            for n in self._lengths
            for at in range(len(run) - n + 1)
        } & self.korean.keys()
        for slip in sorted(found, key=len, reverse=True):
            text = text.replace(slip, self.korean[slip])
        return text


def english_slips(listed: AbstractSet[str], unseen: AbstractSet[str]) -> Mapping[str, str]:
    """Two letters swapped, one doubled, and in longer words one missing."""
    right = listed | unseen | _REAL
    wrong = {slip: word for word in sorted(unseen) for slip in _safe_slips(word)}
    wrong |= {slip: word for word in sorted(listed) for slip in _slips(word)}
    return {slip: word for slip, word in wrong.items() if slip not in right}


def korean_slips(listed: AbstractSet[str], unseen: AbstractSet[str]) -> Mapping[str, str]:
    """One vowel that lies close, or in longer words two syllables swapped."""
    right = listed | {word for word in unseen if _LEAST_SYLLABLES <= len(word) <= _MOST_SYLLABLES}
    wrong = {slip: word for word in sorted(right) for slip in _korean_slips(word)}
    # A slip that stands within a right text would be found where nothing is wrong.
    alright = {part for word in right | unseen | _REAL for part in _parts(word)}
    return {slip: word for slip, word in wrong.items() if slip not in alright}


def _slips(word: str) -> Iterator[str]:
    for at in range(len(word)):
        before, here, after = word[:at], word[at], word[at + 1 :]
        if after:
            yield before + after[0] + here + after[1:]
        yield before + 2 * here + after
        if len(word) >= _LEAST_TO_DROP:
            yield before + after


def _safe_slips(word: str) -> Iterator[str]:
    for at in range(len(word)):
        before, here, after = word[:at], word[at], word[at + 1 :]
        if after and len(word) >= _LEAST_TO_SWAP_UNSEEN:
            yield before + after[0] + here + after[1:]
        if len(word) >= _LEAST_TO_DOUBLE_UNSEEN:
            yield before + 2 * here + after
        if before and after and len(word) >= _LEAST_TO_DROP_UNSEEN:
            yield before + after


def _korean_slips(word: str) -> Iterator[str]:
    for at, syllable in enumerate(word):
        before, after = word[:at], word[at + 1 :]
        if (other := _near(syllable)) != syllable:
            yield before + other + after
        if after and len(word) >= _LEAST_SYLLABLES:
            yield before + after[0] + syllable + after[1:]


def _near(syllable: str) -> str:
    """With the vowel that lies close. Syllables are numbered by lead, vowel and final."""
    if not _FIRST_SYLLABLE <= ord(syllable) <= _LAST_SYLLABLE:
        return syllable
    lead, rest = divmod(ord(syllable) - _FIRST_SYLLABLE, _VOWELS * _FINALS)
    vowel, final = divmod(rest, _FINALS)
    vowel = _NEAR_VOWELS.get(vowel, vowel)
    return chr(_FIRST_SYLLABLE + (lead * _VOWELS + vowel) * _FINALS + final)


def _parts(word: str) -> Iterator[str]:
    for n in range(2, len(word) + 1):
        for at in range(len(word) - n + 1):
            yield word[at : at + n]
