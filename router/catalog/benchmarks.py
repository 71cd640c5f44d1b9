"""The table of published figures (benchmarks.yaml), and the scores that it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

import yaml
from pydantic import TypeAdapter

from common.quality_config import Task
from router.catalog.names import ModelName, read
from router.catalog.score import Score

_FILE = Path(__file__).with_name("benchmarks.yaml")


@dataclass(frozen=True)
class Benchmark:
    points: float
    what: str


@dataclass(frozen=True)
class Row:
    """One model's figures, all from one source."""

    source: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    benchmarks: Mapping[str, Benchmark]
    tasks: Mapping[Task, tuple[str, ...]]
    languages: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]
    models: Mapping[str, Row]

    def share(self, row: Row, benchmark: str) -> float | None:
        """Of the benchmark's full points."""
        figure = row.figures.get(benchmark)
        return None if figure is None else figure / self.benchmarks[benchmark].points

    def score(self, row: Row, benchmarks: Sequence[str]) -> Score | None:
        """Their mean, where the row has all of them: a part of them would not compare."""
        shares = [self.share(row, each) for each in benchmarks]
        known = [share for share in shares if share is not None]
        if not known or len(known) < len(shares):
            return None
        return Score(fmean(known), "published", f"{', '.join(benchmarks)}: {row.source}")

    def row(self, name: ModelName) -> Row | None:
        return _by_key().get(name.key) if name.key else None


@cache
def table() -> Table:
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return TypeAdapter(Table).validate_python(data)


@cache
def _by_key() -> Mapping[tuple[str, float, bool], Row]:
    keys = {read(name).key: row for name, row in table().models.items()}
    return {key: row for key, row in keys.items() if key}
