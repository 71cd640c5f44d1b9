"""The page in a real browser: widths in proportion, nothing cut off, nothing fetched."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.units import GIB
from placement.calibration.measurement import Row
from placement.plan.plan import Plan
from placement.report.bars import bars
from placement.report.page import html
from tests.placement import plans
from tests.placement.report.test_page import hostile

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROWS = {"qwen3-8b-0": [Row("weights", 15 * GIB, 16 * GIB), Row("kv_cache_tokens", 45800, 47400)]}
PLANS = ["one_gpu", "four_replicas", "tensor_parallel", "shared", "refused", "on_cpu", "hostile"]

_SEGMENTS = """() => [...document.querySelectorAll('.bar')].map(bar => {
    const track = bar.getBoundingClientRect();
    return {width: track.width, segments: [...bar.children].map(segment => {
        const box = segment.getBoundingClientRect(), style = getComputedStyle(segment);
        const label = [...segment.children].filter(c => getComputedStyle(c).display !== 'none');
        const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return {
            left: box.left - track.left, width: box.width, height: box.height,
            bytes: Number(segment.dataset.bytes), title: segment.title,
            onTop: box.width < 3 || segment.contains(hit),  // finer than a point can be
            colour: style.color, fill: style.backgroundColor + style.backgroundImage,
            labels: label.map(c => c.textContent),
            textWidth: Math.max(0, ...label.map(c => {
                const range = document.createRange();
                range.selectNodeContents(c);
                return range.getBoundingClientRect().width;
            })),
        };
    })};
})"""
# Whatever is wider than the space that it has, tables aside: those scroll.
_TOO_WIDE = """() => [...document.querySelectorAll('main *')]
    .filter(e => !e.closest('.scroll, .bar, .owners, .marks') && e.scrollWidth > e.clientWidth + 1)
    .filter(e => getComputedStyle(e).display !== 'inline' && e.clientWidth)
    .map(e => e.outerHTML.slice(0, 200))"""
_PAGE_TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Watched:
    """A page, and everything that it asked for or complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, file: Path) -> None:
        self.page.goto(file.as_uri())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(NAMES)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Watched]:
    width, scheme = getattr(request, "param", (1200, "light"))
    context = chromium.new_context(
        viewport={"width": width, "height": 4000}, color_scheme=scheme, offline=True
    )
    yield Watched(context.new_page())
    context.close()


def plan_of(name: str) -> Plan:
    plan: Plan = hostile() if name == "hostile" else getattr(plans, name)()
    return plan


def written(name: str, folder: Path) -> Path:
    file = folder / f"{name}.html"
    file.write_text(html(plan_of(name), ROWS), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("watched", [(1200, "light"), (390, "dark")], indirect=True)
def test_widths_are_in_proportion_to_bytes(watched: Watched, name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    watched.open(written(name, tmp_path))
    found, expected = watched.page.evaluate(_SEGMENTS), bars(plan)
    assert len(found) == len(expected)
    scale = max(bar.total_bytes for bar in expected)
    for drawn, bar in zip(found, expected, strict=True):
        assert [each["bytes"] for each in drawn["segments"]] == [s.n_bytes for s in bar.segments]
        before = 0
        for each in drawn["segments"]:
            assert each["width"] == pytest.approx(drawn["width"] * each["bytes"] / scale, abs=1)
            assert each["left"] == pytest.approx(drawn["width"] * before / scale, abs=1)
            assert each["height"] >= 24
            assert each["onTop"], each
            before += each["bytes"]


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("watched", [(1200, "light"), (700, "light"), (390, "dark")], indirect=True)
def test_no_text_overflows(watched: Watched, name: str, tmp_path: Path) -> None:
    watched.open(written(name, tmp_path))
    for bar in watched.page.evaluate(_SEGMENTS):
        for each in bar["segments"]:
            assert each["textWidth"] <= each["width"], each
            assert len(each["labels"]) <= 1
    assert watched.page.evaluate(_TOO_WIDE) == []
    assert watched.page.evaluate(_PAGE_TOO_WIDE) <= 0


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_fetched_and_nothing_is_wrong(
    watched: Watched, name: str, tmp_path: Path
) -> None:
    file = written(name, tmp_path)
    watched.open(file)
    assert watched.requests == [file.as_uri()]
    assert watched.complaints == []
    assert watched.page.locator("script, img").count() == 0


@pytest.mark.parametrize(
    "watched", [(1200, "light"), (1200, "dark")], indirect=True, ids=["light", "dark"]
)
def test_labels_are_readable_in_both_schemes(watched: Watched, tmp_path: Path) -> None:
    watched.open(written("shared", tmp_path))
    seen = 0
    for bar in watched.page.evaluate(_SEGMENTS):
        for each in bar["segments"]:
            for fill in (c for c in colours(each["fill"]) if c[3]):
                seen += 1
                assert contrast(colours(each["colour"])[0], fill) >= 4.5, each
    assert seen > 15


def test_the_schemes_differ(chromium: Any, tmp_path: Path) -> None:
    file = written("one_gpu", tmp_path)
    brightness = {}
    for scheme in ("light", "dark"):
        page = chromium.new_page(color_scheme=scheme)
        page.goto(file.as_uri())
        (shade,) = colours(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        brightness[scheme] = luminance(shade)
        page.close()
    assert brightness["dark"] < 0.1 < 0.8 < brightness["light"]


def test_a_wide_segment_says_what_it_is(watched: Watched, tmp_path: Path) -> None:
    watched.open(written("one_gpu", tmp_path))
    (bar,) = watched.page.evaluate(_SEGMENTS)
    labels = [label for each in bar["segments"] for label in each["labels"]]
    assert labels[:3] == ["Weights 15.27", "K 2.10", "A 2.23"]
    assert bar["segments"][0]["title"].startswith("qwen3-8b-0: Weights 15.27 GiB\n")


def test_bars_and_details_are_within_reach(watched: Watched, tmp_path: Path) -> None:
    watched.open(written("four_replicas", tmp_path))
    page = watched.page
    assert (
        page.get_by_role("img", name=re.compile(r"^GPU \d, NVIDIA GeForce RTX 5090")).count() == 4
    )
    terms = page.get_by_role("table", name="Memory of qwen3-8b-0")
    assert not terms.is_visible()
    page.get_by_text("How qwen3-8b-0 uses its memory").click()
    assert terms.is_visible()
    assert "sizes in the headers of the weight files" in terms.inner_text()


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("watched", [(1200, "light"), (1200, "dark")], indirect=True)
def test_it_can_be_pictured(watched: Watched, name: str, tmp_path: Path) -> None:
    watched.open(written(name, tmp_path))
    picture = tmp_path / f"{name}.png"
    watched.page.screenshot(path=picture, full_page=True)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000  # an empty page of this size has a tenth of it


def colours(css: str) -> list[tuple[float, float, float, float]]:
    """Red, green, blue and opacity of every colour in a computed style."""
    found = re.findall(r"rgba?\(([^)]+)\)", css)
    values = [[float(value) for value in each.split(",")] for each in found]
    return [(each[0], each[1], each[2], each[3] if len(each) > 3 else 1.0) for each in values]


def luminance(colour: tuple[float, float, float, float]) -> float:
    """As WCAG 2 defines it."""
    shares = [value / 255 for value in colour[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
