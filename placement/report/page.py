"""`roundhouse plan --html`: a plan as one page that needs no script, no network and no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element

from placement.calibration.measurement import Row
from placement.plan.plan import Plan
from placement.report import page_bars, page_tables
from placement.report.bars import bars, fits
from placement.report.markup import document, tag
from placement.report.table import troubles, verdict
from placement.report.words import tokens


def html(plan: Plan, starts: Mapping[str, Sequence[Row]] | None = None) -> str:
    """`starts` are earlier starts' figures beside the prediction, by replica or model."""
    all_bars = bars(plan)
    main = tag(
        "main",
        _header(plan),
        *page_tables.refusals(plan),
        *page_bars.section(all_bars),
        *page_tables.replicas(plan, all_bars),
        *page_tables.starts(starts or {}),
        *page_tables.alternatives_of(plan),
        _footer(plan),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "Placement plan"),
        tag("style", _style()),
    )
    return document(tag("html", head, tag("body", main), lang="en"))


def _header(plan: Plan) -> Element:
    look = "verdict" if fits(plan) else "verdict bad"
    status = tag("p", verdict(plan), class_=look, role="status")
    found = troubles(plan)
    warnings = tag("ul", *(tag("li", each) for each in found), class_="troubles") if found else None
    return tag("header", tag("h1", "Placement plan"), status, warnings)


def _footer(plan: Plan) -> Element:
    box, load = plan.inventory, plan.workload
    facts = {
        "Box": box.hostname,
        "Read at": box.taken_at,
        "Driver": box.driver_version,
        "CUDA": box.cuda_version,
        "Requests": f"{tokens(load.input_tokens)} tokens in, {tokens(load.output_tokens)} out",
    }
    told = " · ".join(f"{name} {value}" for name, value in facts.items() if value)
    return tag("footer", tag("p", told))


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")
