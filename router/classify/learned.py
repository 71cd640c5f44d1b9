"""The learned part of the rules: pieces of words that tell a task, weighed from labelled prompts.

Multinomial logistic regression, kept as a table that can be read: `learned.tsv` names each piece,
how rare it is and its weight for every task. `make train-classifier` writes it from prompts that
were written for this project.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from common.errors import ConfigError
from common.quality_config import TASKS, Task
from router.classify.view import View

TABLE = Path(__file__).with_name("learned.tsv")
_ROW = struct.Struct(f"<{1 + len(TASKS)}h")
SCALE = 100  # the table holds hundredths

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d[\d.,]*|[^\w\s]")
_DIGITS = re.compile(r"\d[\d.,]*")
_SPACE = re.compile(r"\s")
_END = re.compile(r"[\s.?!~^ㅋㅎㅠㅜ]+$")
_STEMS = (4, 5)
_TAIL = 3
_GRAMS = (2, 3, 4)
_ENDINGS = (2, 3, 4, 5)
_MANY_DIGITS = 5
_LONGEST_SIZE = 6
_OF_WORDS = "wbek"  # pieces of words begin so; other pieces alone say nothing of a text
_FLOOR = 300.0  # about the squared rarity of ten pieces


@dataclass(frozen=True)
class Learned:
    """`scores` are natural logarithms of the tasks' odds over the middle one; `told` is the
    piece that spoke loudest for the first of them."""

    scores: Mapping[Task, float]
    told: str


@dataclass(frozen=True)
class Table:
    """`pieces`: how rare it is and its weight for each of TASKS, with the rarity in it; in
    hundredths, and packed, since a row that lies in one place is found three times as fast."""

    bias: tuple[float, ...]
    pieces: Mapping[str, bytes]

    def listen(self, view: View) -> Learned | None:
        """None where it knows nothing of the text."""
        met = self.pieces.keys() & pieces_of(view)
        if not any(piece[0] in _OF_WORDS for piece in met):
            return None
        rarities, *columns = zip(*map(_ROW.unpack, map(self.pieces.__getitem__, met)), strict=True)
        norm = length_of(rarities)
        sums = [sum(column) / norm for column in columns]
        scores = [a + b for a, b in zip(sums, self.bias, strict=True)]
        middle = sorted(scores)[len(scores) // 2]
        first = max(range(len(TASKS)), key=scores.__getitem__)
        return Learned(
            {task: score - middle for task, score in zip(TASKS, scores, strict=True)},
            _loudest(met, columns[first]),
        )


def table_of(bias: Sequence[float], pieces: Mapping[str, Sequence[float]]) -> Table:
    """Rows in units of one; rounded to hundredths."""
    return Table(tuple(bias), {piece: _packed(row) for piece, row in pieces.items()})


def _packed(row: Iterable[float]) -> bytes:
    return _ROW.pack(*(round(SCALE * each) for each in row))


def unpacked(row: bytes) -> tuple[float, ...]:
    return tuple(each / SCALE for each in _ROW.unpack(row))


def length_of(rarities: Iterable[int]) -> float:
    """By which the sum of the weights is divided, so that long texts are no louder than short ones;
    the floor keeps three known syllables from being shouted. All in hundredths."""
    return math.sqrt(sum(rarity * rarity for rarity in rarities) + _FLOOR * SCALE * SCALE)


def _loudest(met: Iterable[str], weights: Sequence[int]) -> str:
    weight, piece = max(zip(weights, met, strict=True))
    return piece.partition(":")[2] if weight > 0 else ""


@cache
def default_table() -> Table:
    return read(TABLE)


def read(path: Path) -> Table:
    """Raises ConfigError that names the line."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    rows: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        piece, *figures = line.split("\t")
        try:
            row = tuple(map(int, figures))
            _ROW.pack(*row)
        except (ValueError, struct.error):
            raise ConfigError(
                f"{path}:{number}: needs a piece and {1 + len(TASKS)} whole numbers of 16 bits"
            ) from None
        rows[piece] = row
    bias = rows.pop("bias:", (0,) * (1 + len(TASKS)))
    packed = {piece: _ROW.pack(*row) for piece, row in rows.items()}
    return Table(tuple(each / SCALE for each in bias[1:]), packed)


def pieces_of(view: View) -> set[str]:
    """Of the text in which a wish is looked for: English words, pairs of them, their beginnings and
    ends; of Korean two to four syllables, without spaces."""
    # A code block is weighed by the patterns alone, which know when it is beside the point.
    pieces = {"is:" + signal for signal in view.signals if signal != "fence"}
    english, korean = view.zones["en"], view.zones["ko"]
    if english is not None:
        pieces |= _english(english.text, is_alone=korean is None)
    if korean is not None:
        pieces |= _korean(korean.text)
    size = min(_LONGEST_SIZE, max(view.n_prose_chars, 8).bit_length() - 4)
    pieces.add(f"size:{size}")
    return pieces


def _english(text: str, *, is_alone: bool) -> set[str]:
    words = ["0" if word[0].isdigit() else word for word in _WORD.findall(text)]
    different = set(words)
    pieces = {"w:" + word for word in different}
    pieces |= {"b:" + word[:n] for n in _STEMS for word in different if len(word) > n}
    pieces |= {"e:" + word[-_TAIL:] for word in different if len(word) > _TAIL}
    pieces |= {f"w:{first} {then}" for first, then in pairwise(words)}
    if is_alone and words:
        pieces |= {f"first:{words[0]}", f"first:{' '.join(words[:2])}"}
        pieces |= {f"last:{words[-1]}", f"last:{' '.join(words[-2:])}"}
    if sum(map(str.isdigit, text)) >= _MANY_DIGITS:
        pieces.add("is:digits")
    return pieces


def _korean(text: str) -> set[str]:
    compact = _SPACE.sub("¶", _DIGITS.sub("0", text))
    end = _END.sub("", compact)
    pieces = {f"first:{compact[:n]}" for n in _GRAMS} | {f"last:{end[-n:]}" for n in _ENDINGS}
    for n in _GRAMS:
        grams = {compact[at : at + n] for at in range(len(compact) - n + 1)}
        pieces |= {"k:" + gram for gram in grams if not gram.isascii()}
    return pieces
