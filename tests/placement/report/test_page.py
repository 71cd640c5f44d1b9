"""The page as text: self-contained, escaped, and with all that it should tell."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from common.units import GIB
from placement.calibration.measurement import Row
from placement.footprint.settings import Term
from placement.plan.plan import Plan
from placement.plan.remedies import Remedy
from placement.plan.speed import BASIS
from placement.report.page import html
from tests.placement import plans

PLANS = ["one_gpu", "four_replicas", "tensor_parallel", "shared", "refused", "on_cpu"]
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> & \x00\x1b[31m"
VOID = {"meta"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def hostile() -> Plan:
    """Names of a model, a replica, a GPU, a source, a note and a reason that all mean harm."""
    plan = plans.refused(HOSTILE)
    (seat,) = plan.placements
    term = Term("weights", GIB, HOSTILE)
    facts = replace(seat.footprint.facts, notes=(HOSTILE,))
    size = replace(seat.footprint, terms=(term,), facts=facts)
    device = replace(plan.berths[0].device, name=HOSTILE)
    berth = replace(plan.berths[0], device=device)
    (refusal,) = plan.refusals
    return replace(
        plan,
        inventory=replace(plan.inventory, hostname=HOSTILE, errors=(HOSTILE,)),
        berths=(berth,),
        placements=(replace(seat, model=HOSTILE, berths=(berth,), footprint=size),),
        refusals=(replace(refusal, reason=HOSTILE, remedies=(Remedy(HOSTILE, HOSTILE),)),),
    )


@pytest.mark.parametrize("name", PLANS)
def test_it_needs_nothing_from_elsewhere(name: str) -> None:
    text = html(getattr(plans, name)())
    page = Reader(text)
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert page.values("src") == page.values("href") == []
    assert not re.search(r"url\(|@import|https?:", text)


def test_names_cannot_break_out() -> None:
    page = Reader(html(hostile(), {HOSTILE: [Row("weights", 1, 2)]}))
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert('x')</script>") >= 5
    assert "\x00" not in page.text
    assert "\x1b" not in page.text


def test_widths_are_shares_of_the_largest_card() -> None:
    text = html(plans.shared())
    widths = re.findall(
        r"left:([\d.]+)%;width:([\d.]+)%\" title=\"[^\"]+\" data-bytes=\"(\d+)\"", text
    )
    total = 32607 * plans.MIB
    assert len(widths) >= 15
    for left, width, n_bytes in widths:
        assert float(width) == pytest.approx(100 * int(n_bytes) / total, abs=1e-4)
        assert float(left) + float(width) <= 100.0001
    assert sum(int(n_bytes) for _, _, n_bytes in widths) == 2 * total


def test_each_bar_can_be_heard() -> None:
    page = Reader(html(plans.four_replicas()))
    told = [label for label in page.values("aria-label") if label.startswith("GPU ")]
    assert len(told) == page.values("role").count("img") == 4
    assert told[2].startswith(
        "GPU 2, NVIDIA GeForce RTX 5090, 31.84 GiB: qwen3-8b-2: Weights 15.27"
    )
    assert told[2].endswith("Free 1.30 GiB")


def test_predictions_are_labelled() -> None:
    page = Reader(html(plans.four_replicas()))
    assert page.text.count("Tokens/s, predicted") == 2
    assert BASIS in page.text
    assert page.text.count("chosen") == 1


def test_long_rankings_are_folded() -> None:
    place = plans.berth(0)
    ranked = tuple(plans.option(place, 2.1, 1000.0 - i) for i in range(9))
    text = html(plans.plan([place], options={"m": ranked}))
    assert "3 more" in Reader(text).text


def test_a_refusal_is_told_with_its_remedies() -> None:
    page = Reader(html(plans.refused()))
    assert "1 replica of 2 found no place." in page.text
    assert "a 4-bit checkpoint of it (AWQ, GPTQ)" in page.text
    assert page.text.index("No place") < page.text.index("Memory of each GPU")


def test_a_refusal_without_remedy_says_so() -> None:
    plan = plans.refused()
    (refusal,) = plan.refusals
    bare = replace(plan, refusals=(replace(refusal, remedies=()),))
    assert "Nothing that was tried would make it fit." in Reader(html(bare)).text


def test_earlier_starts_are_shown_only_where_there_are_some() -> None:
    title = "Predicted and reported"
    assert title not in Reader(html(plans.one_gpu())).text
    assert title not in Reader(html(plans.one_gpu(), {"qwen3-8b": []})).text
    page = Reader(html(plans.one_gpu(), {"qwen3-8b": [Row("kv_cache", 2 * GIB, 4 * GIB)]}))
    assert title in page.text
    assert "-50.0%" in page.text


def test_an_empty_box_is_a_page_as_well() -> None:
    page = Reader(html(plans.plan([])))
    assert "nothing is placed" in page.text
    assert "Memory of each GPU" not in page.text
