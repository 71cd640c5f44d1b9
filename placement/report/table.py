"""`roundhouse plan`: what stands where, at a glance."""

from __future__ import annotations

from collections.abc import Iterator

from placement.plan.plan import Placement, Plan, Refusal
from placement.plan.speed import BASIS
from placement.report.bars import Bar, bars
from placement.report.columns import columns, indented
from placement.report.parts import BY_NAME, PARTS
from placement.report.words import (
    counted,
    gib,
    listed,
    number,
    places,
    rate,
    seconds,
    spread,
    times,
    tokens,
)

_BAR_WIDTH = 64
_REPLICA_HEAD = (
    "REPLICA",
    "ON",
    "LAYOUT",
    "WEIGHTS",
    "KV CACHE",
    "KV TOKENS",
    "CONTEXT",
    "AT ONCE",
    "TOKENS/S*",
    "TTFT*",
)


def lines(plan: Plan) -> list[str]:
    sections = [
        [verdict(plan), *troubles(plan)],
        _gpus(bars(plan)),
        _replicas(plan),
        *(_refusal(refusal) for refusal in plan.refusals),
        _footnotes(plan),
    ]
    full = [section for section in sections if section]
    return [line for i, section in enumerate(full) for line in ([""] * (i > 0) + section)]


def verdict(plan: Plan) -> str:
    placed, missing = len(plan.placements), sum(r.replicas for r in plan.refusals)
    on = listed(sorted({place for p in plan.placements for place in p.gpu_ids}, key=_natural))
    if not placed and not missing:
        return "Nothing is asked for, so nothing is placed."
    if missing:
        return f"{counted(missing, 'replica')} of {placed + missing} found no place."
    where = f" on GPU{'s' * (not on.isdigit())} {on}" if on else ""
    return f"{counted(placed, 'replica')} placed{where}."


def troubles(plan: Plan) -> list[str]:
    """What could not be used or read on this box, and what is told to take too much."""
    lost = [
        f"GPU {gpu.index}{f' ({gpu.name})' if gpu.name else ''} is not used: {gpu.error}"
        for gpu in plan.inventory.gpus
        if gpu.error
    ]
    over = [
        f"{bar.title} is {gib(bar.over_bytes)} too small for what its engines are told to take"
        for bar in bars(plan)
        if bar.over_bytes
    ]
    short = [
        f"{p.replica} does not fit as the config fixes it: its KV cache would be "
        f"{gib(p.footprint.kv_cache_bytes)}"
        for p in plan.placements
        if not p.footprint.fits
    ]
    return [*plan.inventory.errors, *lost, *over, *short]


def strip(bar: Bar, width: int = _BAR_WIDTH) -> str:
    """A bar of letters, each of the same number of bytes; small parts may get none."""
    whole = max(bar.total_bytes, sum(segment.n_bytes for segment in bar.segments), 1)
    drawn, end_bytes = "", 0
    for segment in bar.segments:
        end_bytes += segment.n_bytes
        letter = "." if segment.part == "free" else BY_NAME[segment.part].letter
        drawn += letter * (round(end_bytes * width / whole) - len(drawn))
    return drawn


def _gpus(all_bars: tuple[Bar, ...]) -> list[str]:
    if not all_bars:
        return []
    shown = {segment.part for bar in all_bars for segment in bar.segments}
    legend = "  ".join(
        f"{'.' if part.name == 'free' else part.letter} {part.label}"
        for part in PARTS
        if part.name in shown
    )
    return [line for bar in all_bars for line in _gpu(bar)] + ["", legend]


def _gpu(bar: Bar) -> list[str]:
    who = ", ".join(bar.replicas) or "empty"
    total, free = gib(bar.total_bytes), gib(bar.part_bytes("free"))
    return [f"{bar.title}: {total}, {free} free: {who}", f"  |{strip(bar)}|"]


def _replicas(plan: Plan) -> list[str]:
    if not plan.placements:
        return []
    return columns(_REPLICA_HEAD, (_replica(p) for p in plan.placements), left=3)


def _replica(placement: Placement) -> tuple[str, ...]:
    footprint, speed = placement.footprint, placement.speed
    on_cpu = placement.berths[0].gpu is None
    return (
        placement.replica,
        places(placement),
        spread(placement.layout, nvlink=placement.nvlink, on_cpu=on_cpu),
        number(footprint.term("weights")),
        number(footprint.kv_cache_bytes),
        tokens(footprint.kv_cache_tokens),
        tokens(footprint.max_model_len),
        times(footprint.max_concurrency),
        rate(speed.tokens_per_s) if speed else "-",
        seconds(speed.ttft_s) if speed else "-",
    )


def _refusal(refusal: Refusal) -> list[str]:
    """What found no place, and what would give it one."""
    head = f"No place for {counted(refusal.replicas, 'replica')} of {refusal.model}: "
    return [head + refusal.reason, *remedies(refusal)]


def remedies(refusal: Refusal) -> list[str]:
    if not refusal.remedies:
        return ["  nothing that was tried would make it fit"]
    rows = [(remedy.change, remedy.outcome) for remedy in refusal.remedies]
    return ["  it would fit with:", *indented(columns(("", ""), rows, left=2)[1:], 4)]


def _footnotes(plan: Plan) -> list[str]:
    return list(_footnote_lines(plan))


def _footnote_lines(plan: Plan) -> Iterator[str]:
    if plan.placements:
        yield "WEIGHTS and KV CACHE are GiB on each GPU or worker, the fullest where they differ."
        yield "AT ONCE is how many requests of the full CONTEXT the KV cache holds."
    if any(p.speed for p in plan.placements):
        load = plan.workload
        yield (
            f"* Predicted, for requests of {tokens(load.input_tokens)} tokens in and "
            f"{tokens(load.output_tokens)} out under full load: {BASIS}."
        )


def _natural(name: str) -> tuple[bool, int, str]:
    """Numbers by their value, then the names of MIG slices."""
    return (not name.isdigit(), int(name) if name.isdigit() else 0, name)
