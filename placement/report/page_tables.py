"""The page's words and tables: replicas and their terms, refusals, alternatives, earlier starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from placement.calibration.measurement import Row
from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.speed import BASIS
from placement.report.alternatives import RANKING, Alternative, alternatives, not_first
from placement.report.bars import Bar, bar_of, twin
from placement.report.comparison import comparison
from placement.report.markup import table, tag
from placement.report.parts import BY_NAME
from placement.report.words import (
    BASES,
    counted,
    gib,
    number,
    places,
    rate,
    seconds,
    share,
    spread,
    times,
    tokens,
)

_REPLICAS = (
    "Replica",
    "On",
    "Layout",
    "Weights, GiB",
    "KV cache, GiB",
    "KV tokens",
    "Context",
    "Requests at once",
    "Tokens/s, predicted",
    "First token, predicted",
)
_ALTERNATIVES = (
    "Rank",
    "Layout",
    "Why",
    "Tokens/s, predicted",
    "First token, predicted",
    "KV tokens",
    "Context",
)
_MOST_SHOWN = 6


def refusals(plan: Plan) -> Iterator[Element]:
    if plan.refusals:
        yield tag("section", tag("h2", "No place"), *(_refusal(each) for each in plan.refusals))


def replicas(plan: Plan, all_bars: Sequence[Bar]) -> Iterator[Element]:
    if not plan.placements:
        return
    rows = [_replica(placement) for placement in plan.placements]
    yield tag(
        "section",
        tag("h2", "Replicas"),
        tag("div", table("Replicas", _REPLICAS, rows, left=3), class_="replicas"),
        tag(
            "p",
            "Weights and KV cache are on each GPU, those of the fullest where they differ. "
            "Requests at once are of the full context. ",
            _basis(),
            class_="note",
        ),
        *(_details(p, all_bars) for p in plan.placements if twin(p, plan) is None),
    )


def starts(found: Mapping[str, Sequence[Row]]) -> Iterator[Element]:
    if any(found.values()):
        rows = [[name, *comparison(row)] for name, each in found.items() for row in each]
        head = ("Engine", "Term", "Predicted", "Reported", "Error")
        yield tag(
            "section",
            tag("h2", "Predicted and reported"),
            tag("p", "What engines reported at their last start, beside what was predicted."),
            table("Predicted and reported", head, rows, left=2),
        )


def alternatives_of(plan: Plan) -> Iterator[Element]:
    found = {model: alternatives(plan, model) for model in plan.options}
    shown = [part for model, each in found.items() if each for part in _ranked(plan, model, each)]
    if shown:
        intro = f"Each as if the model were alone on this box; {RANKING}. "
        yield tag(
            "section",
            tag("h2", "Alternatives"),
            tag("p", intro, _basis()),
            *shown,
            class_="alternatives",
        )


def _refusal(refusal: Refusal) -> Element:
    missing = counted(refusal.replicas, "replica")
    remedies = [
        tag("li", tag("code", remedy.change), f" {remedy.outcome}") for remedy in refusal.remedies
    ]
    cure = (
        [tag("p", "It would fit with:"), tag("ul", *remedies)]
        if remedies
        else [tag("p", "Nothing that was tried would make it fit.")]
    )
    name = tag("h3", f"{refusal.model}: {missing} without a place")
    return tag("article", name, tag("p", refusal.reason), *cure, class_="refusal")


def _replica(placement: Placement) -> list[str]:
    footprint, speed = placement.footprint, placement.speed
    on_cpu = placement.berths[0].gpu is None
    return [
        placement.replica,
        "main memory" if on_cpu else f"GPU {places(placement)}",
        spread(placement.layout, nvlink=placement.nvlink, on_cpu=on_cpu),
        number(footprint.term("weights")),
        number(footprint.kv_cache_bytes),
        tokens(footprint.kv_cache_tokens),
        tokens(footprint.max_model_len),
        times(footprint.max_concurrency),
        rate(speed.tokens_per_s) if speed else "-",
        seconds(speed.ttft_s) if speed else "-",
    ]


def _details(placement: Placement, all_bars: Sequence[Bar]) -> Element:
    """Every term with its source."""
    bar = bar_of(placement, all_bars)
    rows = [[BY_NAME[s.part].label, s.source, number(s.n_bytes)] for s in bar.of(placement.replica)]
    taken = bar.replica_bytes(placement.replica)
    rows.append(["In all", f"of {gib(placement.bytes_per_gpu)} that it may take", number(taken)])
    footprint = placement.footprint
    facts = [f"Told to the engine: {share(placement.settings)}.", f"Basis: {_basis_of(placement)}."]
    notes = dict.fromkeys([*facts, *footprint.facts.notes, *footprint.notes])
    return tag(
        "details",
        tag("summary", f"How {placement.replica} uses its memory"),
        table(f"Memory of {placement.replica}", ("Part", "Source", "GiB"), rows, left=2),
        tag("ul", *(tag("li", note) for note in notes), class_="note"),
        class_="terms",
    )


def _basis_of(placement: Placement) -> str:
    basis = placement.footprint.basis
    return f"{basis}, {BASES[basis]}" if basis in BASES else basis


def _ranked(plan: Plan, model: str, found: Sequence[Alternative]) -> list[Element]:
    best = max((each.option.tokens_per_s or 0.0 for each in found if each.option.fits), default=0.0)
    rows = [_alternative(each, best) for each in found]
    caption = f"Alternatives for {model}"
    because = not_first(plan, model)
    shown = [tag("h3", model)]
    if because:
        shown.append(tag("p", f"The chosen one is not the first: {because}.", class_="note"))
    shown.append(table(caption, _ALTERNATIVES, rows[:_MOST_SHOWN], left=3))
    if rows[_MOST_SHOWN:]:
        more = table(f"{caption}, continued", _ALTERNATIVES, rows[_MOST_SHOWN:], left=3)
        shown.append(tag("details", tag("summary", f"{len(rows) - _MOST_SHOWN} more"), more))
    return shown


def _alternative(each: Alternative, best: float) -> list[Element | str]:
    option, footprint = each.option, each.option.footprint
    chosen = tag("span", "chosen", class_="chosen") if each.chosen else None
    speed = option.speed if option.fits else None
    return [
        str(each.rank),
        tag("span", each.title, " ", chosen),
        each.why,
        _speed(option.tokens_per_s if speed else None, best),
        seconds(speed.ttft_s) if speed else "-",
        tokens(footprint.kv_cache_tokens) if option.fits else "-",
        tokens(footprint.max_model_len) if option.fits else "-",
    ]


def _speed(tokens_per_s: float | None, best: float) -> Element | str:
    """The figure over a line as long as it."""
    if not tokens_per_s or not best:
        return "-"
    line = tag("span", class_="gauge", style=f"width:{tokens_per_s / best:.2%}")
    return tag("span", rate(tokens_per_s), tag("span", line, class_="gauges", aria_hidden="true"))


def _basis() -> Element:
    return tag("em", f"Speeds: {BASIS}.")
