"""Tables of plain text, as wide as their longest cells so that nothing is cut off in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """The first `left` columns begin at their left edge; the others are figures, and end flush."""
    table = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def indented(lines: Iterable[str], by: int = 2) -> list[str]:
    return [f"{' ' * by}{line}" if line else "" for line in lines]
