"""HTML by ElementTree, which escapes every text and attribute; nothing here joins strings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, tostring

Child = Element | str
# What neither HTML nor XML allows in a text; a name may hold it all the same.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def tag(name: str, /, *children: Child | None, **attributes: str | None) -> Element:
    """`class_` is for class, `aria_label` for aria-label; None leaves an attribute or child out."""
    element = Element(name)
    for key, value in attributes.items():
        if value is not None:
            element.set(key.rstrip("_").replace("_", "-"), _clean(value))
    for child in children:
        _append(element, child)
    return element


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[Child]], *, left: int = 1
) -> Element:
    """A table that scrolls by itself where it is wider than the page.

    The first cell of a row names it; the first `left` columns are text, the others figures.
    """
    body = [tag("tr", *(_cell(cell, i, left) for i, cell in enumerate(row))) for row in rows]
    heads = (tag("th", text, scope="col", class_=_side(i, left)) for i, text in enumerate(head))
    grid = tag(
        "table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *body)
    )
    return tag("div", grid, class_="scroll", role="region", aria_label=caption, tabindex="0")


def document(root: Element) -> str:
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _cell(cell: Child, column: int, left: int) -> Element:
    if column == 0:
        return tag("th", cell, scope="row")
    return tag("td", cell, class_=_side(column, left))


def _side(column: int, left: int) -> str | None:
    return None if column < left else "figure"


def _append(element: Element, child: Child | None) -> None:
    if child is None:
        return
    if isinstance(child, Element):
        element.append(child)
    elif len(element):
        element[-1].tail = (element[-1].tail or "") + _clean(child)
    else:
        element.text = (element.text or "") + _clean(child)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
