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
# A row is one integer, so that rows are added as one: a lane of 32 bits for each task's weight, and
# above them the square of the rarity. A lane counts from _MIDDLE, and so is never below zero.
_LANE_BITS = 32
_MIDDLE = 1 << 15
_LANES = struct.Struct(f"<{len(TASKS)}I")
_LOWEST, _HIGHEST = -_MIDDLE, _MIDDLE - 1
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
    hundredths, and packed into one integer (see `unpacked`)."""

    bias: tuple[float, ...]
    pieces: Mapping[str, int]

    def listen(self, view: View) -> Learned | None:
        """None where it knows nothing of the text."""
        met = self.pieces.keys() & pieces_of(view)
        if not any(piece[0] in _OF_WORDS for piece in met):
            return None
        total = sum(map(self.pieces.__getitem__, met))
        squares, sums = _lanes(total, len(met))
        norm = _length(squares)
        scores = [each / norm + bias for each, bias in zip(sums, self.bias, strict=True)]
        middle = sorted(scores)[len(scores) // 2]
        return Learned(
            {task: score - middle for task, score in zip(TASKS, scores, strict=True)},
            self._loudest(met, scores.index(max(scores))),
        )

    def _loudest(self, met: Iterable[str], task: int) -> str:
        lane, mask = _LANE_BITS * task, (1 << _LANE_BITS) - 1
        weight, piece = max([(self.pieces[piece] >> lane & mask, piece) for piece in met])
        return piece.partition(":")[2] if weight > _MIDDLE else ""


def table_of(bias: Sequence[float], pieces: Mapping[str, Sequence[float]]) -> Table:
    """Rows in units of one; rounded to hundredths."""
    return Table(tuple(bias), {piece: _packed(row) for piece, row in pieces.items()})


def _packed(row: Iterable[float]) -> int:
    return packed([round(SCALE * each) for each in row])


def packed(row: Sequence[int]) -> int:
    """Of hundredths. Raises OverflowError for one that needs more than 16 bits."""
    if min(row) < _LOWEST or max(row) > _HIGHEST:
        raise OverflowError(f"{row} does not fit 16 bits")
    rarity, *weights = row
    lanes = _LANES.pack(*(_MIDDLE + each for each in weights))
    return int.from_bytes(lanes, "little") + (rarity * rarity << _LANE_BITS * len(TASKS))


def unpacked(row: int) -> tuple[float, ...]:
    """The rarity and the weights, in units of one."""
    square, weights = _lanes(row, 1)
    return tuple(each / SCALE for each in (math.isqrt(square), *weights))


def _lanes(total: int, n_rows: int) -> tuple[int, list[int]]:
    """Of a sum of rows: the sum of the rarities' squares, and of each task's weights."""
    squares = total >> _LANE_BITS * len(TASKS)
    lanes = (total & (1 << _LANE_BITS * len(TASKS)) - 1).to_bytes(_LANES.size, "little")
    return squares, [lane - _MIDDLE * n_rows for lane in _LANES.unpack(lanes)]


def length_of(rarities: Iterable[int]) -> float:
    """By which the sum of the weights is divided, so that long texts are no louder than short ones;
    the floor keeps three known syllables from being shouted. All in hundredths."""
    return _length(sum(rarity * rarity for rarity in rarities))


def _length(squares: int) -> float:
    return math.sqrt(squares + _FLOOR * SCALE * SCALE)


_NO_BIAS = packed((0,) * (1 + len(TASKS)))


@cache
def default_table() -> Table:
    return read(TABLE)


def read(path: Path) -> Table:
    """Raises ConfigError that names the line."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    rows: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        piece, *figures = line.split("\t")
        try:
            rows[piece] = packed(tuple(map(int, figures)))
        except (ValueError, OverflowError, struct.error):
            raise ConfigError(
                f"{path}:{number}: needs a piece and {1 + len(TASKS)} whole numbers of 16 bits"
            ) from None
    bias = unpacked(rows.pop("bias:", _NO_BIAS))[1:]
    return Table(bias, rows)


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
