"""One line of prediction against an engine's own report, in the units that its term has."""

from __future__ import annotations

from placement.calibration.measurement import Row
from placement.report.parts import BY_NAME
from placement.report.words import gib, percent, times, tokens


def comparison(row: Row) -> tuple[str, str, str, str]:
    """Term, predicted, reported, error."""
    return (_label(row.term), _figure(row, row.predicted), _figure(row, row.reported), _error(row))


def _label(term: str) -> str:
    if term in BY_NAME:
        return BY_NAME[term].label
    return {"kv_cache_tokens": "KV tokens", "max_concurrency": "requests at once"}.get(term, term)


def _figure(row: Row, value: float) -> str:
    if row.term == "kv_cache_tokens":
        return tokens(round(value))
    if row.term == "max_concurrency":
        return times(value)
    return gib(value)


def _error(row: Row) -> str:
    return percent(row.error)
