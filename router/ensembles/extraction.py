"""What an answer says, in a form that can be compared: "18", "3/2", "B", a text without its dress.

Where several signs are there, the order is: a marked answer (####, \\boxed, "the answer is"), then
the last number, then the whole text. No sign is no answer: None, which abstains.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from router.ensembles import numbers, options
from router.ensembles.tally import WRONG_NUMBERS, WRONG_OPTIONS

# Answers stand at the end of a text; patterns take too long over one that is made to be long.
_READ_CHARS = 20_000
_JSON_TRIES = 50
_HASHES = re.compile(r"####[ \t]*(\S.*)")
_SAID = re.compile(
    r"(?:\banswer\s*(?:is|=|[:\uff1a])|(?:정답|답|답변)\s*(?:은|는|=|[:\uff1a]))[\s:\uff1a]*(?P<said>\S.*)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.(?:\s|$)|。|!(?:\s|$)")
_KOREAN_END = re.compile(r"(?:입니다|이다|이에요|예요)$")
_ARTICLE = re.compile(r"^(?:the|a|an)\s+")
_NO_WORD = re.compile(r"[^\w\s./%+-]")
_LARGEST = 1e100
_JSON_START = re.compile(r"[{\[]")
# Infinity and NaN become None.
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)


def extract(
    text: str, how: str = "auto", *, question: str = "", is_cut: bool = False
) -> str | None:
    """`how`: auto, number, choice, boxed, text, json or json:FIELD. `is_cut`: the text was ended by
    its length, so what stands last in it is not its answer."""
    said = without_thoughts(text)
    if not said.strip():
        return None
    if how == "json" or how.startswith("json:"):
        return _json(said, how[5:])
    said = said.strip()[-_READ_CHARS:]
    if how == "auto":
        return _auto(said, question, is_cut)
    by: dict[str, Callable[[str, bool], str | None]] = {
        "number": _number,
        "choice": _choice,
        "boxed": _boxed_only,
        "text": lambda text, _: comparable(text) or None,
    }
    return by[how](said, is_cut)


def wrong_answers(how: str) -> int:
    """Over how many wrong answers those who are wrong scatter."""
    return WRONG_OPTIONS if how == "choice" else WRONG_NUMBERS


def comparable(text: str) -> str:
    """Without case, punctuation, articles and outer space; numbers in their one form."""
    value = numbers.only_number(text)
    if value is not None:
        return numbers.canonical(value)
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _NO_WORD.sub(" ", text).strip(" \n\t.-")
    text = _KOREAN_END.sub("", text)
    return " ".join(_ARTICLE.sub("", text).split())


def marked(text: str) -> str | None:
    """What the text itself marks as its answer, the last one of each sort."""
    hashes = _HASHES.findall(text)
    if hashes:
        return _boxed(hashes[-1]) or str(hashes[-1])
    box = _boxed(text)
    if box is not None:
        return box
    said = [match["said"] for match in _SAID.finditer(_undressed(text))]
    return _first_sentence(said[-1]) if said else None


def _auto(text: str, question: str, is_cut: bool) -> str | None:
    if options.are_listed(question) and (option := _choice(text, is_cut)):
        return option
    whole = _whole_json(text)
    if whole is not None:
        return _of_value(whole)
    answer = marked(text)
    if answer is not None:
        return options.lone(answer) or comparable(answer) or None
    if lone := options.lone(_undressed(text)):
        return lone
    if is_cut:
        return None
    value = numbers.last_number(text)
    return _canonical(value) or comparable(text) or None


def _number(text: str, is_cut: bool) -> str | None:
    answer = marked(text)
    if answer is not None:
        value = numbers.only_number(answer)
        value = numbers.last_number(answer) if value is None else value
        if value is not None:
            return _canonical(value)
    return None if is_cut else _canonical(numbers.last_number(text))


def _choice(text: str, is_cut: bool) -> str | None:
    answer = marked(text)
    option = options.leading(answer) if answer else options.lone(_undressed(text))
    if option or is_cut:
        return option
    return options.last(_undressed(text))


def _boxed_only(text: str, _: bool) -> str | None:
    box = _boxed(text)
    return comparable(box) or None if box is not None else None


def _json(text: str, path: str) -> str | None:
    value = next(_json_values(text), None)
    for key in path.split(".") if path else ():
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else _of_value(value)


def _of_value(value: Any) -> str:
    if isinstance(value, str):
        return comparable(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return numbers.canonical(Fraction(str(value)))
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _json_values(text: str) -> Iterator[Any]:
    """Objects and lists in it, outermost first."""
    at = 0
    for _ in range(_JSON_TRIES):
        found = _JSON_START.search(text, at)
        if found is None:
            return
        try:
            value, at = _DECODER.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            at = found.end()
            continue
        yield value


def _whole_json(text: str) -> Any:
    bare = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not bare.startswith(("{", "[")):
        return None
    try:
        return _DECODER.decode(bare)
    except (ValueError, RecursionError):
        return None


def _boxed(text: str) -> str | None:
    r"""What the last \boxed{} holds, braces within it included."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin = start + len("\\boxed{")
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None


def without_thoughts(text: str) -> str:
    """What comes after the last thought; a template may have opened it. One without an end is all
    that there is from there on."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def _undressed(text: str) -> str:
    return text.replace("**", "").replace("__", "").replace("`", "")


def _canonical(value: Fraction | None) -> str | None:
    return None if value is None else numbers.canonical(value)
