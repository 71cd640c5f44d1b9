"""What was measured of the classifier: tables for people and a document for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.routing_figures import (
    THRESHOLDS,
    Answer,
    Share,
    accuracy,
    bands,
    calibration_error,
    commonest,
    confident,
    confusion,
    groups,
    macro_f1,
    per_task,
)
from benchmarks.routing_measure import Measured, targets
from benchmarks.routing_set import Prompt
from benchmarks.routing_worth import POOL, worth
from router.classify import TASKS

Key = Callable[[Prompt], str | None]

# A key that no prompt has, or that is the same for all, makes no table.
GROUPS: Mapping[str, Key] = {
    "language": lambda prompt: prompt.lang,
    "difficulty": lambda p: None if p.hard is None else ("hard" if p.hard else "plain"),
    "turns": lambda p: "several turns" if len(p.turns) > 1 else "one turn",
    "source": lambda prompt: prompt.source,
}


def show(measured: Measured, name: str) -> None:
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(f"{len(measured.answers)} labelled prompts: {name}")
    for table in tables(measured):
        console.print(table)


def tables(measured: Measured) -> Iterator[Table]:
    answers = measured.answers
    yield _targets(measured)
    yield _tasks(answers)
    for what, found in _grouped(answers).items():
        yield _groups(what, found)
    yield _matrix(answers)
    yield _coverage(answers)
    yield _reliability(answers)
    yield _robustness(measured)
    yield _worth(answers)
    yield _latency(measured)


def document(measured: Measured, name: str) -> dict[str, Any]:
    answers = measured.answers
    return {
        "benchmark": "routing",
        "set": name,
        "machine": asdict(machine.describe()),
        "accuracy": _share(accuracy(answers)),
        "macro_f1": macro_f1(answers),
        "always_the_commonest": _share(commonest(answers)),
        "language_right": _share(measured.languages),
        "targets": [asdict(target) for target in targets(measured)],
        "tasks": [
            asdict(each) | {"precision": each.precision, "recall": each.recall, "f1": each.f1}
            for each in per_task(answers)
        ],
        "groups": {
            what: {key: _figures(part) for key, part in found.items()}
            for what, found in _grouped(answers).items()
        },
        "confusion": {"order": list(TASKS), "rows_are_labels": confusion(answers)},
        "coverage": [
            {"confidence": least, **_share(confident(answers, least))} for least in THRESHOLDS
        ],
        "calibration_error": calibration_error(answers),
        "bands": [
            {"low": b.low, "high": b.high, "mean": b.mean_confidence, **_share(b.answers)}
            for b in bands(answers)
        ],
        "robustness": [
            {"name": r.name, "before": _share(r.before), "after": _share(r.after)}
            for r in measured.robustness
        ],
        "worth": asdict(worth(answers)),
        "latency": [asdict(each) for each in measured.latency],
        "wrong": [
            {"id": a.prompt.id, "label": a.prompt.task, "said": a.task, "confidence": a.confidence}
            for a in answers
            if not a.right
        ],
    }


def _grouped(answers: Sequence[Answer]) -> dict[str, Mapping[str, list[Answer]]]:
    found = {what: groups(answers, key) for what, key in GROUPS.items()}
    return {what: parts for what, parts in found.items() if len(parts) > 1}


def _targets(measured: Measured) -> Table:
    table = _table("Must reach", "figure", "target", "found", "reached")
    for each in targets(measured):
        table.add_row(each.name, each.wanted, each.found, "yes" if each.reached else "NO")
    low = commonest(measured.answers)
    table.add_section()
    table.add_row("always the commonest label", "", f"{low.value:.3f}", "")
    table.add_row("the language is right", "", f"{measured.languages.value:.3f}", "")
    return table


def _tasks(answers: Sequence[Answer]) -> Table:
    table = _table("By task", "task", "prompts", "precision", "recall", "F1")
    for each in per_task(answers):
        ratios = (f"{value:.3f}" for value in (each.precision, each.recall, each.f1))
        table.add_row(each.task, str(each.labelled), *ratios)
    total = accuracy(answers)
    table.add_section()
    table.add_row("all", str(total.rows), "", f"{total.value:.3f}", f"{macro_f1(answers):.3f}")
    return table


def _groups(what: str, found: Mapping[str, Sequence[Answer]]) -> Table:
    table = _table(f"By {what}", what, "prompts", "accuracy", "95 % interval", "macro-F1")
    for name, part in found.items():
        share = accuracy(part)
        low, high = share.interval
        interval = f"{low:.3f} to {high:.3f}"
        f1 = f"{macro_f1(part):.3f}"
        table.add_row(name, str(share.rows), f"{share.value:.3f}", interval, f1)
    return table


def _matrix(answers: Sequence[Answer]) -> Table:
    table = _table("Confusion: rows are labels, columns answers", "", *TASKS)
    for label, counts in zip(TASKS, confusion(answers), strict=True):
        table.add_row(label, *(str(count or "") for count in counts))
    return table


def _coverage(answers: Sequence[Answer]) -> Table:
    table = _table("Coverage against accuracy", "confidence at least", "covered", "right")
    for least in THRESHOLDS:
        share = confident(answers, least)
        covered = Share(len(answers), share.rows)
        table.add_row(f"{least:g}", f"{covered.value:.1%}", _percent(share))
    return table


def _reliability(answers: Sequence[Answer]) -> Table:
    title = f"Reliability: expected calibration error {calibration_error(answers):.3f}"
    table = _table(title, "confidence", "prompts", "mean confidence", "right")
    for band in bands(answers):
        mean = f"{band.mean_confidence:.3f}" if band.answers.rows else ""
        span = f"{band.low:g} to {band.high:g}"
        table.add_row(span, str(band.answers.rows), mean, _percent(band.answers))
    return table


def _robustness(measured: Measured) -> Table:
    columns = ("said otherwise", "prompts changed", "before", "after", "points lost")
    table = _table("Robustness", *columns)
    for each in measured.robustness:
        if each.before.rows:
            shares = (_percent(each.before), _percent(each.after))
            table.add_row(each.name, str(each.before.rows), *shares, f"{each.lost_points:+.1f}")
    return table


def _worth(answers: Sequence[Answer]) -> Table:
    """Always side by side: finding tasks is worth what lies above the best single model."""
    found = worth(answers)
    title = f"Worth: mean published score, {found.pools} pools of {POOL} models, no translations"
    table = _table(title, "answered by", "score", "of the best single")
    for name, score in (
        ("any of them", found.any_model),
        ("the best at the task that was found", found.routed),
        ("the best single model, known afterwards", found.best_single),
        ("the best at the labelled task (oracle)", found.oracle),
    ):
        table.add_row(name, f"{score:.4f}", f"{score / found.best_single:.3f}")
    return table


def _latency(measured: Measured) -> Table:
    title = "Latency: each prompt by the median of its rounds"
    columns = ("what", "prompts", "rounds", "p50, ms", "p99, ms", "longest single, ms")
    table = _table(title, *columns)
    for each in measured.latency:
        times = (f"{ms:.3f}" for ms in (each.p50_ms, each.p99_ms, each.most_ms))
        table.add_row(each.name, f"{each.prompts:,}", str(each.rounds), *times)
    return table


def _table(title: str, first: str, *numbers: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _percent(share: Share) -> str:
    return f"{share.value:.1%}" if share.rows else ""


def _share(share: Share) -> dict[str, Any]:
    return {"rows": share.rows, "passed": share.passed, "share": share.value}


def _figures(answers: Sequence[Answer]) -> dict[str, Any]:
    share = accuracy(answers)
    return {**_share(share), "interval": share.interval, "macro_f1": macro_f1(answers)}
