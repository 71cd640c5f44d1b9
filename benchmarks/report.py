"""Tables for people and JSON for machines, from one set of samples."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.processes import ProcessMemory
from benchmarks.samples import Measure, Sample, Spread, added, ratio, values

RESULTS: Final = machine.ROOT / "benchmarks" / "results"
BASE: Final = "bare"
RIVAL: Final = "vllm-router cache_aware"
MIB: Final = 2**20


@dataclass(frozen=True)
class Startup:
    target: str
    number: int
    ready_s: float
    answered_s: float  # until the first answer of one token was complete


@dataclass(frozen=True)
class Part:
    name: str
    samples: tuple[Sample, ...]
    figures: Mapping[str, tuple[str, ...]]  # of each point, those worth a line
    memory: Mapping[str, tuple[ProcessMemory, ...]] = field(default_factory=dict)
    startups: tuple[Startup, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> list[str]:
        return list(dict.fromkeys(sample.target for sample in self.samples))

    @property
    def bases(self) -> list[str]:
        """What the targets are compared to, as far as it was measured."""
        return [base for base in (BASE, RIVAL) if base in self.targets]


@dataclass(frozen=True)
class Figure:
    """One figure of the report: how it is taken from a result, compared and written."""

    measure: Measure
    by_ratio: bool  # else by the difference
    form: str
    scale: float = 1.0

    def compare(self, part: Part, point: str, target: str, base: str) -> Spread | None:
        take = ratio if self.by_ratio else added
        return None if target == base else take(part.samples, target, base, point, self.measure)

    def compared(self, part: Part, point: str, target: str, base: str) -> str:
        found = self.compare(part, point, target, base)
        if found is None:
            return ""
        three = (found.median, found.least, found.greatest)
        median, least, greatest = (
            f"{value:.2f}x" if self.by_ratio else f"{value * self.scale:+.2f}" for value in three
        )
        return f"{median}  ({least} to {greatest})"

    def median(self, part: Part, point: str, target: str) -> str:
        found = values(part.samples, target, point, self.measure)
        return format(found.median * self.scale, self.form) if found else ""


def per(amount: float, count: int) -> float:
    return amount / count if count else 0.0


def rate(measure: Measure, form: str, scale: float = 1.0) -> Figure:
    return Figure(measure, by_ratio=True, form=form, scale=scale)


def time_ms(measure: Measure) -> Figure:
    return Figure(measure, by_ratio=False, form=",.2f", scale=1e3)


FIGURES: Final = {
    "requests/s": rate(lambda s: s.result.requests_per_s, ",.1f"),
    "output tokens/s": rate(lambda s: s.result.output_tokens_per_s, ",.1f"),
    "chunks/s": rate(lambda s: s.result.chunks_per_s, ",.0f"),
    "TTFT p50, ms": time_ms(lambda s: s.result.ttft_s.p50),
    "TTFT p99, ms": time_ms(lambda s: s.result.ttft_s.p99),
    "ITL p50, ms": time_ms(lambda s: s.result.itl_s.p50),
    "own CPU, us/request": rate(lambda s: per(s.cpu_s, s.result.succeeded), ",.1f", 1e6),
    "own CPU, us/chunk": rate(lambda s: per(s.cpu_s, s.result.chunks), ",.2f", 1e6),
}


def publish(
    parts: Sequence[Part], options: Mapping[str, Any], *, out: Path | None, as_json: bool
) -> None:
    """Writes the file, then prints the report."""
    where = machine.describe()
    document = as_document(parts, where, options)
    path = out or default_path(where.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    if as_json:
        print(json.dumps(document))
    else:
        show(parts, where, path)


def failed(parts: Sequence[Part]) -> bool:
    """A request that failed makes a run worthless: the rest is measured too well."""
    return any(sample.result.failed for part in parts for sample in part.samples)


def default_path(name: str) -> Path:
    return RESULTS / name / f"{datetime.now(UTC):%Y-%m-%d}" / "overhead.json"


def as_document(
    parts: Sequence[Part], where: machine.Machine, options: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "benchmark": "overhead",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(where),
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in options.items()},
        "parts": [asdict(part) | {"comparison": list(comparison(part))} for part in parts],
    }


def lines(part: Part) -> Iterator[tuple[str, str, str]]:
    for point, names in part.figures.items():
        for name in names:
            for target in part.targets:
                yield point, name, target


def comparison(part: Part) -> Iterator[dict[str, Any]]:
    """Each figure of each target, beside the bare engine's and the rival's of the same round."""
    for point, name, target in lines(part):
        figure = FIGURES[name]
        found = values(part.samples, target, point, figure.measure)
        row = {"point": point, "figure": name, "target": target, "value": found and asdict(found)}
        for base in part.bases:
            spread = figure.compare(part, point, target, base)
            row[f"{'ratio' if figure.by_ratio else 'added'} to {base}"] = spread and asdict(spread)
        yield row


def show(parts: Sequence[Part], where: machine.Machine, path: Path) -> None:
    console = Console(width=None if Console().is_terminal else 150, highlight=False)
    packages = ", ".join(f"{name} {version}" for name, version in where.packages.items())
    cores = f"{where.cores} cores, {where.memory_bytes / 2**30:.0f} GiB"
    console.print(f"Overhead on {where.cpu}, {cores}; commit {where.commit}; {packages}")
    console.print("Medians over the rounds (least to greatest); compared within each round.")
    for part in parts:
        for table in tables(part):
            console.print(table)
        for note in part.notes:
            console.print(f"- {note}")
    console.print(f"Raw figures: {path}")


def tables(part: Part) -> Iterator[Table]:
    yield figure_table(part)
    if part.startups:
        yield startup_table(part)
    if part.memory:
        yield memory_table(part)


def figure_table(part: Part) -> Table:
    table = Table(title=part.name, title_justify="left")
    for name in ("point", "figure", "target"):
        table.add_column(name)
    for name in ("median", *(f"to {base}" for base in part.bases), "failed"):
        table.add_column(name, justify="right")
    for point, name, target in lines(part):
        figure = FIGURES[name]
        table.add_row(
            *((point, name) if target == part.targets[0] else ("", "")),
            target,
            figure.median(part, point, target),
            *(figure.compared(part, point, target, base) for base in part.bases),
            str(failures(part, target, point) or ""),
            end_section=target == part.targets[-1],
        )
    return table


def failures(part: Part, target: str, point: str) -> int:
    own = (s for s in part.samples if (s.target, s.point) == (target, point))
    return sum(sample.result.failed for sample in own)


def startup_table(part: Part) -> Table:
    table = Table("target", "start", "ready", "first answer", title=f"{part.name}: start-up")
    for each in part.startups:
        times = (f"{each.ready_s:.1f} s", f"{each.answered_s:.1f} s")
        table.add_row(each.target, str(each.number), *times)
    return table


def memory_table(part: Part) -> Table:
    table = Table("target", "process", title=f"{part.name}: memory (PSS)", title_justify="left")
    table.add_column("MiB", justify="right")
    base = sum(each.pss_bytes for each in part.memory.get(BASE, ()))
    for target, processes in part.memory.items():
        total = sum(each.pss_bytes for each in processes)
        more = f", {(total - base) / MIB:+,.0f} to bare" if target != BASE else ""
        table.add_row(target, f"all {len(processes)}{more}", f"{total / MIB:,.0f}")
        for each in processes:
            table.add_row("", each.name[:90], f"{each.pss_bytes / MIB:,.0f}")
    return table
