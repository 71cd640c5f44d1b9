"""The learned part of the rules: pieces of words that tell a task, weighed from labelled prompts.

Multinomial logistic regression, kept as a table that can be read: `learned.tsv` names each piece,
how rare it is and its weight for every task. `make train-classifier` writes it from prompts that
were written for this project.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import nlargest
from itertools import pairwise
from pathlib import Path

from common.errors import ConfigError
from common.quality_config import TASKS, Task
from router.classify.view import View

TABLE = Path(__file__).with_name("learned.tsv")
SCALE = 100  # the table holds hundredths

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d[\d.,]*|[^\w\s]")
_DIGITS = re.compile(r"\d[\d.,]*")
_SPACE = re.compile(r"\s")
_END = re.compile(r"[\s.?!~^ㅋㅎㅠㅜ]+$")
_STEMS = (3, 4, 5, 6)
_TAILS = (3, 4)
_GRAMS = (2, 3, 4)
_ENDINGS = (2, 3, 4, 5)
_MANY_DIGITS = 5
_LONGEST_SIZE = 6
_OF_WORDS = "wbek"  # pieces of words begin so; other pieces alone say nothing of a text
_FLOOR = 300.0  # about the squared rarity of ten pieces
_TOLD = 3  # pieces that an explanation names


@dataclass(frozen=True)
class Learned:
    """`scores` are natural logarithms of the tasks' odds over the middle one; `told` names the
    pieces that spoke loudest for the first of them."""

    scores: Mapping[Task, float]
    told: str


@dataclass(frozen=True)
class Table:
    """`pieces`: (how rare it is, its weight for each of TASKS, with the rarity in it)."""

    bias: tuple[float, ...]
    pieces: Mapping[str, tuple[float, ...]]

    def listen(self, view: View) -> Learned | None:
        """None where it knows nothing of the text."""
        met = sorted(self.pieces.keys() & pieces_of(view))
        if not any(piece[0] in _OF_WORDS for piece in met):
            return None
        rarities, *columns = zip(*map(self.pieces.__getitem__, met), strict=True)
        norm = length_of(rarities)
        sums = [sum(column) / norm for column in columns]
        scores = [a + b for a, b in zip(sums, self.bias, strict=True)]
        middle = sorted(scores)[len(scores) // 2]
        first = max(range(len(TASKS)), key=scores.__getitem__)
        return Learned(
            {task: score - middle for task, score in zip(TASKS, scores, strict=True)},
            _loudest(met, columns[first]),
        )


def length_of(rarities: Iterable[float]) -> float:
    """By which the sum of the weights is divided, so that long texts are no louder than short ones;
    the floor keeps three known syllables from being shouted."""
    return math.sqrt(sum(rarity * rarity for rarity in rarities) + _FLOOR)


def _loudest(met: Sequence[str], weights: Sequence[float]) -> str:
    ranked = nlargest(_TOLD, zip(weights, met, strict=True))
    return ", ".join(piece.partition(":")[2] for weight, piece in ranked if weight > 0)


@cache
def default_table() -> Table:
    return read(TABLE)


def read(path: Path) -> Table:
    """Raises ConfigError that names the line."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    rows: dict[str, tuple[float, ...]] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        piece, *figures = line.split("\t")
        try:
            row = tuple(int(figure) / SCALE for figure in figures)
        except ValueError:
            row = ()
        if len(row) != 1 + len(TASKS):
            raise ConfigError(f"{path}:{number}: needs a piece and {1 + len(TASKS)} whole numbers")
        rows[piece] = row
    bias = rows.pop("bias:", (0.0,) * (1 + len(TASKS)))
    return Table(bias[1:], rows)


def pieces_of(view: View) -> frozenset[str]:
    """Of the text in which a wish is looked for: English words, pairs of them, their beginnings and
    ends; of Korean two to four syllables, without spaces."""
    pieces = {f"is:{signal}" for signal in view.signals}
    english, korean = view.zones["en"], view.zones["ko"]
    if english is not None:
        pieces.update(_english(english.text, is_alone=korean is None))
    if korean is not None:
        pieces.update(_korean(korean.text))
    size = min(_LONGEST_SIZE, max(view.n_prose_chars, 8).bit_length() - 4)
    pieces.add(f"size:{size}")
    return frozenset(pieces)


def _english(text: str, *, is_alone: bool) -> Iterator[str]:
    words = ["0" if word[0].isdigit() else word for word in _WORD.findall(text)]
    for word in set(words):
        yield f"w:{word}"
        yield from (f"b:{word[:n]}" for n in _STEMS if len(word) > n)
        yield from (f"e:{word[-n:]}" for n in _TAILS if len(word) > n)
    yield from (f"w:{first} {then}" for first, then in pairwise(words))
    if is_alone and words:
        yield from (f"first:{words[0]}", f"first:{' '.join(words[:2])}")
        yield from (f"last:{words[-1]}", f"last:{' '.join(words[-2:])}")
    if sum(map(str.isdigit, text)) >= _MANY_DIGITS:
        yield "is:digits"


def _korean(text: str) -> Iterator[str]:
    compact = _SPACE.sub("¶", _DIGITS.sub("0", text))
    for n in _GRAMS:
        grams = {compact[at : at + n] for at in range(len(compact) - n + 1)}
        yield from (f"k:{gram}" for gram in grams if not gram.isascii())
        yield f"first:{compact[:n]}"
    end = _END.sub("", compact)
    yield from (f"last:{end[-n:]}" for n in _ENDINGS)
