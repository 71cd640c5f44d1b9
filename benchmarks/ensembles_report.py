"""The report of `make bench-ensembles`, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.ensembles_figures import Difference, Figures, Given
from benchmarks.report import RESULTS


@dataclass(frozen=True)
class Found:
    """`differences`: of each ensemble to the best single model."""

    figures: tuple[Figures, ...]
    differences: tuple[Difference, ...]
    answers: dict[str, list[Given]]


def default_path() -> Path:
    name = machine.describe().name
    return RESULTS / name / f"{datetime.now(UTC):%Y-%m-%d}" / "ensembles.json"


def publish(found: Found, options: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document(found, options), indent=1, ensure_ascii=False) + "\n")
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    console.print(_table(found.figures))
    for line in found.differences:
        console.print(told(line), soft_wrap=True)
    console.print(f"Raw figures: {out}", soft_wrap=True)


def told(line: Difference) -> str:
    low, high = line.interval
    verdict = "" if line.is_significant else "; could be chance"
    return (
        f"{line.name} against {line.base}: {line.points:+.1f} points ({low:+.1f} to {high:+.1f}), "
        f"{line.only_this} right only here, {line.only_base} only there, p = {line.p:.3f}{verdict}"
    )


def document(found: Found, options: dict[str, Any]) -> dict[str, Any]:
    shown = {key: str(v) if isinstance(v, Path) else v for key, v in options.items()}
    return {
        "benchmark": "ensembles",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(machine.describe()),
        "options": {key: value for key, value in shown.items() if key != "key"},
        "figures": [asdict(f) | {"interval": f.right.interval} for f in found.figures],
        "differences": [asdict(line) for line in found.differences],
        "answers": {
            name: [
                asdict(each) | {"question": each.question.id, "right": each.is_right}
                for each in given
            ]
            for name, given in found.answers.items()
        },
    }


def _table(lines: Sequence[Figures]) -> Table:
    title = "Right answers (95 % interval); tokens, requests and seconds of a question"
    table = Table("way to ask", title=title, title_justify="left")
    for name in (
        "right",
        "en",
        "ko",
        "requests",
        "in",
        "out",
        "wasted",
        "escal.",
        "p50 s",
        "p90 s",
    ):
        table.add_column(name, justify="right")
    for line in lines:
        low, high = line.right.interval
        table.add_row(
            line.name,
            f"{line.right.value:.1%} ({low:.1%} to {high:.1%})",
            *(f"{share.value:.1%}" for share in line.by_language.values()),
            f"{line.requests:.2f}",
            f"{line.prompt_tokens:.0f}",
            f"{line.output_tokens:.1f}",
            f"{line.wasted_tokens:.1f}",
            f"{line.escalated.value:.0%}",
            f"{line.p50_s:.2f}",
            f"{line.p90_s:.2f}",
        )
    return table
