"""`roundhouse plan --explain`: every term with its source, the sums, and why nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.units import GIB
from placement.calibration.measurement import Row
from placement.plan.plan import Placement, Plan
from placement.plan.speed import BASIS
from placement.report.alternatives import RANKING, Alternative, alternatives, not_first
from placement.report.bars import Bar, bar_of, bars, twin
from placement.report.columns import columns, indented
from placement.report.comparison import comparison
from placement.report.parts import BY_NAME
from placement.report.table import lines as table_lines
from placement.report.words import (
    BASES,
    counted,
    number,
    places,
    rate,
    scope,
    seconds,
    share,
    spread,
    times,
    tokens,
)

_VISIBLE_BYTES = GIB // 200  # less is 0.00 GiB


def lines(plan: Plan, starts: Mapping[str, Sequence[Row]] | None = None) -> list[str]:
    """`starts` are earlier starts' figures beside the prediction, by replica or model."""
    out = table_lines(plan)
    all_bars = bars(plan)
    for placement in plan.placements:
        out += ["", *_replica(placement, plan, all_bars), *_start(placement, starts or {})]
    for model in plan.options:
        out += ["", *_alternatives(plan, model)]
    return out


def _replica(placement: Placement, plan: Plan, all_bars: Sequence[Bar]) -> list[str]:
    bar = bar_of(placement, all_bars)
    on = f"on GPU {places(placement)}" if bar.berth.gpu else "in main memory"
    how = spread(placement.layout, nvlink=placement.nvlink, on_cpu=bar.berth.gpu is None)
    title = f"{placement.replica} {on}, {how}"
    same = twin(placement, plan)
    if same:
        return [title, f"  the same as {same.replica}"]
    parts = (_budget(placement, plan, bar), _terms(placement, bar), _facts(placement))
    return [title, *indented([line for part in parts for line in [*part, ""]][:-1])]


def _budget(placement: Placement, plan: Plan, bar: Bar) -> list[str]:
    """From the card's total down to what this replica may take; the figures add up."""
    less = [
        (BY_NAME[name].label, bar.part_bytes(name), BY_NAME[name].meaning)
        for name in ("driver", "others", "reserve")
    ]
    less += [
        (other.replica, other.bytes_per_gpu, "given to it on the same GPU")
        for other in plan.placements
        if other is not placement and bar.berth in other.berths
    ]
    left = bar.total_bytes - placement.bytes_per_gpu - sum(n_bytes for _, n_bytes, _ in less)
    less.append(("Not given", left, "more than the replicas here can use"))
    return _ledger(
        [
            (f"{bar.title} has", number(bar.total_bytes), ""),
            *(
                (f"- {name}", number(n_bytes), note)
                for name, n_bytes, note in less
                if abs(n_bytes) >= _VISIBLE_BYTES
            ),
            (f"{placement.replica} may take", number(placement.bytes_per_gpu), scope(placement)),
        ]
    )


def _terms(placement: Placement, bar: Bar) -> list[str]:
    mine = bar.of(placement.replica)
    rows = [(BY_NAME[s.part].label, number(s.n_bytes), s.source) for s in mine]
    taken = bar.replica_bytes(placement.replica)
    rows.append(("Takes in all", number(taken), f"told to the engine: {share(placement.settings)}"))
    spare = placement.bytes_per_gpu - taken
    if spare > 0:
        rows.append(("Left over", number(spare), "kept free outside of the engine's share"))
    if spare < 0:
        rows.append(("Too much", number(-spare), "the config fixes more than there is for it"))
    return _ledger(rows)


def _ledger(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """A name, GiB and a note a line."""
    width = max(len(name) for name, _, _ in rows)
    figures = max(len(figure) for _, figure, _ in rows)
    return [
        f"{name.ljust(width)}  {figure.rjust(figures)}  {note}".rstrip()
        for name, figure, note in [("", "GiB", ""), *rows]
    ]


def _facts(placement: Placement) -> list[str]:
    footprint, speed = placement.footprint, placement.speed
    basis = BASES.get(footprint.basis, "")
    holds = f"{times(footprint.max_concurrency)} requests of {tokens(footprint.max_model_len)}"
    out = [
        f"KV cache: {tokens(footprint.kv_cache_tokens)} tokens, {holds} at once",
        f"basis: {footprint.basis}{f', {basis}' if basis else ''}",
    ]
    if speed:
        out.append(
            f"predicted: {rate(speed.tokens_per_s)} tokens/s with "
            f"{counted(speed.concurrency, 'request')} at once, "
            f"{rate(speed.stream_tokens_per_s)} for each, "
            f"{rate(speed.single_stream_tokens_per_s)} for one alone, "
            f"first token after {seconds(speed.ttft_s)}; bound by {speed.bound}"
        )
    cores = placement.cpu_ids
    out += [f"worker {i}: cores {', '.join(map(str, ids))}" for i, ids in enumerate(cores) if ids]
    notes = dict.fromkeys([*footprint.facts.notes, *footprint.notes])
    return out + [f"note: {note}" for note in notes]


def _start(placement: Placement, starts: Mapping[str, Sequence[Row]]) -> list[str]:
    rows = starts.get(placement.replica) or starts.get(placement.model) or ()
    if not rows:
        return []
    table = columns(("TERM", "PREDICTED", "REPORTED", "ERROR"), (comparison(row) for row in rows))
    return ["", *indented(["the engine's own report at its last start:", *indented(table)])]


def _alternatives(plan: Plan, model: str) -> list[str]:
    found = alternatives(plan, model)
    if not found:
        return [f"{model} has no layout that is possible on this box"]
    head = ("", "", "TOKENS/S*", "TTFT*", "KV TOKENS", "CONTEXT")
    titles, *rows = columns(head, (_row(each) for each in found), left=2)
    out = [f"Alternatives for {model}, each as if it were alone on this box; {RANKING}:"]
    out += indented([titles])
    for row, each in zip(rows, found, strict=True):
        out += [*indented([row]), *indented([each.why], 6)]
    because = not_first(plan, model)
    out += [f"  not the first: {because}"] if because else []
    return [*out, f"  * {BASIS}"]


def _row(each: Alternative) -> tuple[str, ...]:
    footprint, speed = each.option.footprint, each.option.speed
    known = each.option.fits and speed is not None
    return (
        f"{each.rank}.",
        each.title + (" (chosen)" if each.chosen else ""),
        rate(each.option.tokens_per_s) if known else "-",
        seconds(speed.ttft_s) if each.option.fits and speed else "-",
        tokens(footprint.kv_cache_tokens) if each.option.fits else "-",
        tokens(footprint.max_model_len) if each.option.fits else "-",
    )
