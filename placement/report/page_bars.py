"""The page's bars: one a GPU, all to one scale, so that equal widths are equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from common.units import GIB
from placement.report.bars import Bar, Segment
from placement.report.markup import table, tag
from placement.report.parts import BY_NAME, PARTS, Part
from placement.report.words import gib, number

# Distances of the scale's marks, in GiB; the first that makes at most so many marks is taken.
_STEPS_GIB = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_MOST_MARKS = 8
_AT_THE_END = 0.97  # a mark there would stick out of the bars
_OPEN_UP_TO = 4  # bars whose figures are shown without asking


def section(all_bars: Sequence[Bar]) -> Iterator[Element]:
    if not all_bars:
        return
    scale_bytes = max(_drawn_bytes(bar) for bar in all_bars)
    shown = {segment.part for bar in all_bars for segment in bar.segments}
    parts = [part for part in PARTS if part.name in shown]
    yield tag(
        "section",
        tag("h2", "Memory of each GPU" if all_bars[0].berth.gpu else "Main memory"),
        _legend(parts),
        tag(
            "div", *(_row(bar, scale_bytes) for bar in all_bars), _scale(scale_bytes), class_="bars"
        ),
        _figures(all_bars, parts),
    )


def _legend(parts: Sequence[Part]) -> Element:
    """Letters stand for the parts as well, for those who see no colours."""
    items = (
        tag(
            "li",
            tag("span", part.letter, class_=f"swatch {part.name}", aria_hidden="true"),
            part.label,
            title=part.meaning,
        )
        for part in parts
    )
    return tag("ul", *items, class_="legend", aria_label="Parts of a bar")


def _row(bar: Bar, scale_bytes: int) -> Element:
    name = tag(
        "div",
        tag("strong", _short(bar)),
        tag("span", bar.berth.device.name),
        tag("span", f"{number(bar.part_bytes('free'))} of {gib(bar.total_bytes)} free"),
        class_="gpu",
    )
    track = tag("div", _owners(bar, scale_bytes), _bar(bar, scale_bytes), class_="track")
    return tag("div", name, track, class_="row")


def _bar(bar: Bar, scale_bytes: int) -> Element:
    start_bytes, children = 0, []
    for segment in bar.segments:
        children.append(_segment(segment, start_bytes, scale_bytes))
        start_bytes += segment.n_bytes
    described = "; ".join(_told(segment) for segment in bar.segments)
    return tag(
        "div",
        *children,
        class_="bar",
        role="img",
        aria_label=f"{bar.title}, {gib(bar.total_bytes)}: {described}",
    )


def _segment(segment: Segment, start_bytes: int, scale_bytes: int) -> Element:
    """Its label is as long as its width allows; the style sheet chooses."""
    part = BY_NAME[segment.part]
    return tag(
        "div",
        tag("span", f"{part.label} {number(segment.n_bytes)}", class_="long"),
        tag("span", f"{part.letter} {number(segment.n_bytes)}", class_="medium"),
        tag("span", part.letter, class_="short"),
        class_=f"segment {segment.part}",
        style=_place(start_bytes, segment.n_bytes, scale_bytes),
        title=f"{_told(segment)}\n{segment.source}",
        data_bytes=str(segment.n_bytes),
    )


def _owners(bar: Bar, scale_bytes: int) -> Element | None:
    """Brackets over the bar: which part of it is whose."""
    if not bar.replicas:
        return None
    start_bytes, children = 0, []
    for replica in bar.replicas:
        n_bytes = bar.replica_bytes(replica)
        children.append(
            tag(
                "div",
                tag("span", replica),
                class_="owner",
                style=_place(start_bytes, n_bytes, scale_bytes),
                title=f"{replica}: {gib(n_bytes)}",
            )
        )
        start_bytes += n_bytes
    return tag("div", *children, class_="owners", aria_hidden="true")


def _scale(scale_bytes: int) -> Element:
    step = next((s for s in _STEPS_GIB if scale_bytes / GIB / s <= _MOST_MARKS), _STEPS_GIB[-1])
    marks = (_mark(mark, scale_bytes) for mark in range(0, int(scale_bytes / GIB) + 1, step))
    return tag("div", tag("div", *marks, class_="marks"), class_="scale", aria_hidden="true")


def _mark(gib_: int, scale_bytes: int) -> Element:
    share = gib_ * GIB / scale_bytes
    return tag(
        "span", str(gib_), class_="last" if share > _AT_THE_END else None, style=f"left:{share:.4%}"
    )


def _figures(all_bars: Sequence[Bar], parts: Sequence[Part]) -> Element:
    """The same in figures."""
    rows = [
        [_short(bar), *(_amount(bar.part_bytes(p.name)) for p in parts), number(bar.total_bytes)]
        for bar in all_bars
    ]
    grid = table("GiB of each GPU", ["GPU", *(part.label for part in parts), "Total"], rows)
    few = "" if len(all_bars) <= _OPEN_UP_TO else None
    return tag("details", tag("summary", "The same in figures"), grid, open=few)


def _short(bar: Bar) -> str:
    return f"GPU {bar.label}" if bar.berth.gpu else "CPU"


def _amount(n_bytes: int) -> str:
    return number(n_bytes) if n_bytes else "-"


def _told(segment: Segment) -> str:
    owner = f"{segment.replica}: " if segment.replica else ""
    return f"{owner}{BY_NAME[segment.part].label} {gib(segment.n_bytes)}"


def _drawn_bytes(bar: Bar) -> int:
    return max(1, bar.total_bytes, sum(segment.n_bytes for segment in bar.segments))


def _place(start_bytes: int, n_bytes: int, scale_bytes: int) -> str:
    return f"left:{start_bytes / scale_bytes:.4%};width:{n_bytes / scale_bytes:.4%}"
