"""A confusion matrix as an SVG picture, which needs no plotting library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

_CELL, _LEFT, _TOP = 64, 120, 96
_FONT = "font-family='system-ui, sans-serif'"


def picture(names: Sequence[str], matrix: Sequence[Sequence[int]], title: str) -> str:
    """Rows are labels, columns answers; a cell is as dark as its share of its row."""
    width, height = _LEFT + _CELL * len(names) + 24, _TOP + _CELL * len(names) + 24
    parts = (*_headings(names, title), *_cells(matrix))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'"
        f" width='{width}' height='{height}' {_FONT} role='img'>\n"
        f"<title>{escape(title)}</title>\n"
        f"<rect width='{width}' height='{height}' fill='white'/>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _headings(names: Sequence[str], title: str) -> Iterator[str]:
    yield _text(16, 28, title, 16, "start", "black")
    yield _text(_LEFT, 56, "answer", 12, "start", "#555")
    yield _text(_LEFT - 10, _TOP - 8, "label", 12, "end", "#555")
    for at, name in enumerate(names):
        middle = at * _CELL + _CELL // 2
        yield _text(_LEFT + middle, _TOP - 10, name, 12, "middle", "black")
        yield _text(_LEFT - 10, _TOP + middle + 4, name, 12, "end", "black")


def _cells(matrix: Sequence[Sequence[int]]) -> Iterator[str]:
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            x, y = _LEFT + column * _CELL, _TOP + row * _CELL
            yield (
                f"<rect x='{x}' y='{y}' width='{_CELL}' height='{_CELL}' fill='{_shade(share)}'"
                " stroke='#ddd'/>"
            )
            if count:
                ink = "white" if share > 0.5 else "black"
                middle = x + _CELL // 2
                yield _text(middle, y + _CELL // 2, str(count), 14, "middle", ink)
                yield _text(middle, y + _CELL // 2 + 16, f"{share:.0%}", 10, "middle", ink)


def _shade(share: float) -> str:
    """From white to a dark blue."""
    red, green, blue = (round(255 + (to - 255) * share) for to in (16, 62, 116))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _text(x: int, y: int, words: str, size: int, anchor: str, ink: str) -> str:
    return (
        f"<text x='{x}' y='{y}' font-size='{size}' text-anchor='{anchor}' fill='{ink}'>"
        f"{escape(words)}</text>"
    )
