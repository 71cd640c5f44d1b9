"""The same prompts said otherwise: what must not change the task. Pure; typos by a fixed seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.routing_set import Prompt

Change = Callable[[Prompt], str]
_FENCES = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)
_HANGUL = "가-힣ㄱ-ㅎㅏ-ㅣ"
_SPACE_IN_KOREAN = re.compile(rf"(?<=[{_HANGUL}]) +(?=[{_HANGUL}])")
_END = r"(?=[\s.?!~:,ㅋㅎㅠㅜ]*(?:\n|$)|[.?!:])"

# Longest first; each is tried at the end of a sentence or line.
_TO_CASUAL = [
    ("해 주시기 바랍니다", "해"),
    ("부탁드립니다", "부탁해"),
    ("부탁드려요", "부탁해"),
    ("부탁해요", "부탁해"),
    ("하십시오", "해"),
    ("주십시오", "줘"),
    ("주시겠어요", "줄래"),
    ("주실 수 있나요", "줄 수 있어"),
    ("주실래요", "줄래"),
    ("주세요", "줘"),
    ("줘요", "줘"),
    ("하시오", "해"),
    ("하세요", "해"),
    ("무엇인가요", "뭐야"),
    ("인가요", "이야"),
    ("일까요", "일까"),
    ("할까요", "할까"),
    ("되나요", "돼"),
    ("있나요", "있어"),
    ("입니까", "이야"),
    ("습니까", "어"),
    ("하나요", "해"),
    ("예요", "야"),
    ("이에요", "이야"),
    ("해요", "해"),
    ("돼요", "돼"),
    ("어요", "어"),
]
_TO_POLITE = [
    ("짜줘", "짜 주세요"),
    ("알려줘", "알려 주시겠어요"),
    ("해줘", "해 주세요"),
    ("써줘", "써 주십시오"),
    ("줘", "주세요"),
    ("해줄래", "해 주시겠어요"),
    ("뭐야", "무엇인가요"),
    ("뭐임", "무엇인가요"),
    ("얼마야", "얼마인가요"),
    ("얼마임", "얼마인가요"),
    ("어디야", "어디인가요"),
    ("이야", "인가요"),
    ("있어", "있나요"),
    ("있나", "있을까요"),
    ("좀", "좀 부탁드립니다"),
    ("돼", "되나요"),
    ("해봐", "해 봐 주세요"),
    ("ㄱㄱ", "부탁드립니다"),
]
_LOANS = [
    ("번역", "translate"),
    ("요약", "summary"),
    ("코드", "code"),
    ("함수", "function"),
    ("이메일", "email"),
    ("메일", "email"),
    ("회의", "meeting"),
    ("추천", "recommend"),
    ("분석", "analysis"),
    ("비교", "compare"),
    ("계산", "calculate"),
    ("확률", "probability"),
    ("여행", "trip"),
    ("소설", "novel"),
    ("가사", "lyrics"),
    ("문구", "copy"),
    ("영화", "movie"),
    ("일정", "schedule"),
    ("제목", "title"),
    ("계약", "contract"),
]


@dataclass(frozen=True)
class Noise:
    name: str
    change: Change

    def of(self, prompts: Sequence[Prompt]) -> list[tuple[Prompt, Prompt]]:
        """(before, after) of the prompts that it changes."""
        both = ((prompt, prompt.saying(self.change(prompt))) for prompt in prompts)
        return [(before, after) for before, after in both if before != after]


def no_spaces(prompt: Prompt) -> str:
    return _outside_fences(prompt.text, lambda text: _SPACE_IN_KOREAN.sub("", text))


def casual(prompt: Prompt) -> str:
    return _outside_fences(prompt.text, lambda text: _endings(text, _TO_CASUAL))


def polite(prompt: Prompt) -> str:
    return _outside_fences(prompt.text, lambda text: _endings(text, _TO_POLITE))


def courtesy(prompt: Prompt) -> str:
    if prompt.lang == "ko":
        return f"안녕하세요, 바쁘실 텐데 죄송합니다. {prompt.text}\n미리 감사드립니다."
    return f"Hello, I hope you can help me. {prompt.text}\nThank you very much in advance."


def slang(prompt: Prompt) -> str:
    if prompt.lang == "ko":
        return f"{prompt.text} ㅋㅋ"
    plain = re.sub(r"\b(?:please|kindly)[,.]? ?|\bcould you ", "", prompt.text, flags=re.IGNORECASE)
    return f"yo {plain}"


def typos(prompt: Prompt) -> str:
    """One slip in about every 25 letters, the same ones on each run."""
    random = Random(prompt.id)  # seeded by the text: it must be the same on every machine
    return _outside_fences(prompt.text, lambda text: _slips(text, random))


def mixed_words(prompt: Prompt) -> str:
    """Korean with English nouns in it, English with Korean around it."""
    if prompt.lang != "ko":
        return f"저기 {prompt.text} 부탁드려요"
    text = prompt.text
    for korean, english in _LOANS:
        text = text.replace(korean, english)
    return text


def upper(prompt: Prompt) -> str:
    return _outside_fences(prompt.text, str.upper)


def lower(prompt: Prompt) -> str:
    return _outside_fences(prompt.text, str.lower)


def text_fence(prompt: Prompt) -> str:
    return f"{prompt.text}\n\n```text\nroom 12, second floor\nTuesday\n```"


def code_fence(prompt: Prompt) -> str:
    return f"{prompt.text}\n\n```python\nprint('ok')\n```"


NOISES = (
    Noise("Korean without spaces", no_spaces),
    Noise("Korean, casual endings", casual),
    Noise("Korean, polite endings", polite),
    Noise("greeting and thanks around it", courtesy),
    Noise("slang around it", slang),
    Noise("typos", typos),
    Noise("mixed language", mixed_words),
    Noise("upper case", upper),
    Noise("lower case", lower),
    Noise("fence of plain text appended", text_fence),
    Noise("fence of code appended", code_fence),
)


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    parts = _FENCES.split(text)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def _endings(text: str, table: Sequence[tuple[str, str]]) -> str:
    """One pass, so that no ending is changed twice."""
    new = dict(table)
    olds = "|".join(re.escape(old) for old in sorted(new, key=len, reverse=True))
    return re.sub(rf"(?:{olds}){_END}", lambda match: new[match[0]], text)


def _slips(text: str, random: Random) -> str:
    letters = list(text)
    for at in range(1, len(letters) - 1):
        if letters[at].isalpha() and random.random() < 1 / 25:
            _slip(letters, at, random)
    return "".join(letters)


def _slip(letters: list[str], at: int, random: Random) -> None:
    if _is_syllable(letters[at]) and random.random() < 0.5:
        letters[at] = _other_vowel(letters[at])
    elif letters[at + 1].isalpha():
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    else:
        letters[at] += letters[at]


def _is_syllable(letter: str) -> bool:
    return "가" <= letter <= "힣"


def _other_vowel(syllable: str) -> str:
    """ㅐ for ㅔ, ㅗ for ㅜ and the like: keys and sounds that lie close. Unicode's own layout."""
    near = {0: 4, 4: 0, 1: 5, 5: 1, 8: 13, 13: 8, 18: 20, 20: 18, 10: 11, 11: 10}
    lead, rest = divmod(ord(syllable) - 0xAC00, 21 * 28)
    vowel, tail = divmod(rest, 28)
    return chr(0xAC00 + lead * 21 * 28 + near.get(vowel, vowel) * 28 + tail)
