"""Why a model found no place, and what would give it one; no remedy is named untried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from common.units import format_bytes
from placement.footprint.settings import Calibration
from placement.inventory import catalogue
from placement.models.facts import Quantization
from placement.plan.berths import Berth, berths
from placement.plan.demand import Demand, Layout, layouts, misfit
from placement.plan.sizing import Sizer

_CONTEXTS = (131072, 65536, 32768, 16384, 8192, 4096, 2048)
_FP8_SINCE = (8, 9)  # compute capability of Ada, the first with FP8 in its tensor cores
_FOUR_BIT = Quantization("awq", bits=4.25)
_CARD_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Remedy:
    """One change and what it leads to, both in words that a config's author understands."""

    change: str
    outcome: str


@dataclass(frozen=True)
class Diagnosis:
    reason: str
    remedies: tuple[Remedy, ...]


def remedies(
    demand: Demand,
    left: Sequence[Berth],
    whole: Sequence[Berth],
    calibration: Calibration | None = None,
) -> Diagnosis:
    """`left` are the GPUs with what this plan has not given away yet, `whole` those of an empty
    box."""
    changes = _changes(demand, whole, calibration)
    tried = ((change, _fitting(d, left, calibration)) for change, d in changes)
    found = [Remedy(change, outcome) for change, outcome in tried if outcome]
    found += _cards(demand, calibration)
    if _fitting(demand, whole, calibration):
        reason = "the GPUs are taken by the other models of this plan"
        found.insert(0, Remedy("serve fewer models on this box, or fewer replicas", "it fits then"))
    else:
        reason = _shortage(demand, whole, calibration)
    return Diagnosis(reason, tuple(found))


def _shortage(demand: Demand, places: Sequence[Berth], calibration: Calibration | None) -> str:
    """Of the layout that comes closest."""
    if not places:
        return "there is no GPU to use"
    kinds = Counter(berth.kind for berth in places)
    sizes = [
        (Sizer(demand, layout, berth, calibration).least_bytes, berth, layout)
        for berth in places
        for layout in _possible(demand, kinds[berth.kind])
        if layout.n_gpus <= kinds[berth.kind]
    ]
    if not sizes:
        return misfit(demand.facts, demand.layout or Layout(1, 1)) or "no layout is possible"
    least, berth, layout = min(sizes, key=lambda size: size[0] - size[1].budget_bytes)
    return (
        f"needs {format_bytes(least)} on {'the' if layout.n_gpus == 1 else 'each'} GPU "
        f"({layout}), {berth.device.name} has {format_bytes(berth.budget_bytes)} to give"
    )


def _changes(
    demand: Demand, places: Sequence[Berth], calibration: Calibration | None
) -> Iterator[tuple[str, Demand]]:
    settings = demand.settings
    for length in _CONTEXTS:
        if settings.max_model_len and length < settings.max_model_len:
            yield f"max_model_len: {length}", _shortened(demand, length)
    for n_seqs in (64, 16):
        if (settings.max_num_seqs or 1024) > n_seqs:
            yield (
                f"engine_args.max_num_seqs: {n_seqs}",
                replace(demand, settings=replace(settings, max_num_seqs=n_seqs)),
            )
    if not settings.enforce_eager:
        yield (
            "engine_args.enforce_eager: true (slower)",
            replace(demand, settings=replace(settings, enforce_eager=True)),
        )
    fp8 = all((b.device.compute_capability or (0, 0)) >= _FP8_SINCE for b in places)
    if fp8 and settings.kv_cache_dtype == "auto":
        yield (
            "engine_args.kv_cache_dtype: fp8",
            replace(demand, settings=replace(settings, kv_cache_dtype="fp8")),
        )
    if demand.facts.quantization is None and settings.quantization is None:
        if fp8:
            yield (
                "quantization: fp8",
                replace(demand, settings=replace(settings, quantization="fp8")),
            )
        facts = replace(demand.facts, quantization=_FOUR_BIT, stored=None)
        yield "a 4-bit checkpoint of it (AWQ, GPTQ)", replace(demand, facts=facts)


def _shortened(demand: Demand, length: int) -> Demand:
    settings = demand.settings
    kv_bytes = settings.kv_cache_bytes
    if demand.kv_by_context and kv_bytes is not None and settings.max_model_len:
        kv_bytes = kv_bytes * length // settings.max_model_len
    return replace(
        demand, settings=replace(settings, max_model_len=length, kv_cache_bytes=kv_bytes)
    )


def _fitting(demand: Demand, places: Sequence[Berth], calibration: Calibration | None) -> str:
    """The first layout that fits, in words; empty when none does."""
    for layout in _possible(demand, len(places)):
        for kind in dict.fromkeys(berth.kind for berth in places):
            same = sorted((b for b in places if b.kind == kind), key=lambda b: -b.budget_bytes)[
                : layout.n_gpus
            ]
            if len(same) < layout.n_gpus:
                continue
            sizer = Sizer(demand, layout, same[-1], calibration)
            if sizer.least_bytes <= same[-1].budget_bytes:
                footprint = sizer.settle(same[-1].budget_bytes)
                return (
                    f"fits on {layout} with {footprint.max_model_len:,} tokens of context, "
                    f"{footprint.max_concurrency:.1f} such requests at once"
                )
    return ""


def _possible(demand: Demand, n_gpus: int) -> list[Layout]:
    if demand.layout:
        return [demand.layout] if misfit(demand.facts, demand.layout) is None else []
    return layouts(demand.facts, n_gpus)


def _cards(demand: Demand, calibration: Calibration | None) -> Iterator[Remedy]:
    """The smallest card, and the smallest number of them, that holds the model as it is asked."""
    free = replace(demand, layout=None, gpus=None)
    for count in _CARD_COUNTS:
        for spec in sorted(catalogue.specs(), key=lambda spec: spec.cuda_total_bytes):
            if spec.kind != "discrete":
                continue
            places = berths(catalogue.boxed([(spec.name, count)]), 0)
            outcome = _fitting(free, places, calibration)
            if outcome:
                yield Remedy(f"{count} x {spec.name}", outcome)
                return
