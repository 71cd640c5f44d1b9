"""What a batch came to: a table for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.listing import print_json, print_table
from common.units import format_duration

_HEAD = ("MODEL", "REQUESTS", "FAILED", "TOKENS IN", "TOKENS OUT", "TOKENS/S", "P50", "P95", "COST")


def report(told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    if told["models"]:
        print_table(_HEAD, (_row(each) for each in told["models"]))
        print()
    print(summary(told))


def summary(told: Mapping[str, Any]) -> str:
    lines = [f"{told['answered']} of {told['requests']} answered: {told['output']}"]
    if told["failed"]:
        lines.append(f"{told['failed']} failed: {told['errors']} (--retry-failed asks them again)")
    if told["before"]:
        lines.append(f"{told['before']} of them were done before this run")
    if told["models"]:
        lines.append(f"took {format_duration(told['elapsed_s'])}")
    return "\n".join(lines)


def _row(model: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        model["model"],
        f"{model['requests']:,}",
        f"{model['failed']:,}",
        _or_dash(model["tokens_in"], ","),
        _or_dash(model["tokens_out"], ","),
        _or_dash(model["tokens_per_s"], ",.1f"),
        _or_dash(model["latency_p50_s"], ".2f", " s"),
        _or_dash(model["latency_p95_s"], ".2f", " s"),
        _or_dash(model["cost_usd"], ".4f", " USD"),
    )


def _or_dash(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
