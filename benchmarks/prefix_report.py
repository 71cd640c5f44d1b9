"""The figures of the prefix benchmark: tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.decision_cost import Cost
from benchmarks.report import RESULTS

OURS: Final = "prefix_aware"
LEAST_OF_SINGLE: Final = 0.90
MOST_SPREAD: Final = 1.25


@dataclass(frozen=True)
class Row:
    """One policy on one trace. `of_single` is None where the single replica found nothing."""

    part: str
    trace: str
    replicas: int
    policy: str
    hit_ratio: float
    of_single: float | None
    requests_spread: float
    second_spread: float  # simulated: time in flight; real: prompt tokens

    @property
    def spread(self) -> float:
        return max(self.requests_spread, self.second_spread)

    @property
    def reached(self) -> bool | None:
        """Only our default policy has to reach anything."""
        if self.policy != OURS or self.replicas == 1:
            return None
        kept = self.of_single is None or self.of_single >= LEAST_OF_SINGLE
        return kept and self.spread <= MOST_SPREAD

    @property
    def verdict(self) -> str:
        """The targets and what was reached of them, as a line."""
        where = f"{self.part}, {self.trace}, {self.replicas} replicas"
        hits = "no prefix to gain by"
        if self.of_single is not None:
            hits = f"hits {self.of_single:.1%} of one replica's (wanted: >= {LEAST_OF_SINGLE:.0%})"
        load = f"max/mean load {self.spread:.2f} (wanted: <= {MOST_SPREAD})"
        return f"{'reached' if self.reached else 'MISSED '}  {where}: {hits}, {load}"


def document(rows: Sequence[Row], costs: Sequence[Cost]) -> dict[str, Any]:
    return {
        "benchmark": "prefix",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(machine.describe()),
        "wanted": {"least_of_single": LEAST_OF_SINGLE, "most_spread": MOST_SPREAD},
        "rows": [{**asdict(row), "reached": row.reached} for row in rows],
        "costs": [asdict(cost) for cost in costs],
    }


def default_path() -> Path:
    return RESULTS / machine.describe().name / f"{datetime.now(UTC):%Y-%m-%d}" / "prefix.json"


def show(rows: Sequence[Row], costs: Sequence[Cost]) -> None:
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    for part, second in (("simulated", "in flight"), ("real", "prompt tokens")):
        of_part = [row for row in rows if row.part == part]
        if of_part:
            console.print(_rows_table(part, second, of_part))
    if costs:
        console.print(_costs_table(costs))
    for row in rows:
        if row.reached is not None:
            console.print(row.verdict, soft_wrap=True)


def _rows_table(part: str, second: str, rows: Sequence[Row]) -> Table:
    title = f"Prefix hits, {part}: at least {LEAST_OF_SINGLE:.0%} of one replica's is wanted"
    title += f" of {OURS}, at max/mean load of at most {MOST_SPREAD}"
    table = Table("trace", "replicas", "policy", title=title, title_justify="left")
    for name in ("hit rate", "of one's", "max/mean requests", f"max/mean {second}", "reached"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.trace,
            str(row.replicas),
            row.policy,
            f"{row.hit_ratio:.1%}",
            "" if row.of_single is None else f"{row.of_single:.1%}",
            f"{row.requests_spread:.2f}",
            f"{row.second_spread:.2f}",
            {True: "yes", False: "NO", None: ""}[row.reached],
        )
    return table


def _costs_table(costs: Sequence[Cost]) -> Table:
    table = Table("what", title="Cost of a decision, ms", title_justify="left")
    for name in ("prompt", "replicas", "p50", "p99"):
        table.add_column(name, justify="right")
    for cost in costs:
        replicas = "" if cost.replicas is None else str(cost.replicas)
        size = f"{cost.prompt_bytes >> 10} KiB"
        table.add_row(cost.what, size, replicas, f"{cost.p50_ms:.3f}", f"{cost.p99_ms:.3f}")
    return table
