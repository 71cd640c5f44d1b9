"""How right placement's predictions are, against public start-up logs; and how fast a plan is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import accuracy, goals, machine
from benchmarks.accuracy import Check
from benchmarks.starts import Start, load
from common.units import GIB
from placement.inventory.inventory import Cpu, Gpu, Inventory, Link
from placement.plan.demand import Demand
from placement.plan.planner import make

_MOST_PLAN_MS = 100.0
_PLANNED = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen3-14B",
    "Qwen/Qwen3-30B-A3B",
    "google/gemma-3-12b-it",
    "google/gemma-2-27b-it",
    "deepseek-ai/DeepSeek-V2-Lite-Chat",
    "openai/gpt-oss-20b",
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
    "ibm-granite/granite-3.3-8b-instruct",
)


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    starts = load()
    found = accuracy.checks(starts)
    plan_ms = _plan_ms(starts)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(_document(found, plan_ms), indent=1) + "\n")
    show(found, plan_ms, len(starts))
    missed = [check.name for check in found if not check.ok]
    missed += ["10 models on 8 GPUs"] if min(plan_ms) > _MOST_PLAN_MS else []
    return goals.exit_code(missed, strict=args.strict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    goals.add_strict(parser)
    return parser


def show(found: Sequence[Check], plan_ms: Sequence[float], n_starts: int) -> None:
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(f"{n_starts} public start-up logs of vLLM; see benchmarks/data/starts.jsonl")
    console.print(_targets(found, plan_ms))
    console.print("* starts whose log cannot decide it; they are among the misses")
    console.print(_misses(found))


def _targets(found: Sequence[Check], plan_ms: Sequence[float]) -> Table:
    table = Table("figure", "target", title="Must reach", title_justify="left")
    for name in ("rows", "passed", "median error", "largest", "reached"):
        table.add_column(name, justify="right")
    for check in found:
        errors = (f"{check.median_error:.2%}", f"{check.largest_error:.2%}")
        table.add_row(
            check.name,
            check.target,
            str(check.rows),
            f"{check.passed} ({check.share:.1%})",
            *(errors if check.errors else ("", "")),
            _reached(check),
        )
    reached = "yes" if min(plan_ms) <= _MOST_PLAN_MS else "NO"
    figures = ", ".join(f"{ms:.0f}" for ms in plan_ms)
    table.add_row("10 models on 8 GPUs", "under 100 ms", "", f"{figures} ms", "", "", reached)
    return table


def _reached(check: Check) -> str:
    answer = "yes" if check.ok else "NO"
    return f"{answer}, but for {check.undecidable} *" if check.undecidable else answer


def _misses(found: Sequence[Check]) -> Table:
    table = Table("figure", "start", title="Misses", title_justify="left")
    for name in ("predicted", "reported", "error"):
        table.add_column(name, justify="right")
    table.add_column("cause")
    for check in found:
        for miss in check.misses:
            error = "" if miss.error is None else f"{miss.error:+.2%}"
            table.add_row(
                check.name,
                miss.id,
                _number(miss.predicted),
                _number(miss.reported),
                error,
                miss.cause,
            )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _document(found: Sequence[Check], plan_ms: Sequence[float]) -> dict[str, Any]:
    return {
        "benchmark": "placement",
        "machine": asdict(machine.describe()),
        "checks": [
            asdict(check)
            | {"rows": check.rows, "ok": check.ok, "median_error": check.median_error}
            | {"largest_error": check.largest_error, "undecidable": check.undecidable}
            for check in found
        ],
        "plan_ms": list(plan_ms),
    }


def _plan_ms(starts: Sequence[Start]) -> list[float]:
    """A first plan of models that were never looked at, and four more of the same."""
    facts = {s.model: s.facts for s in starts if s.model in _PLANNED and s.facts}
    demands = [Demand(name, facts[name], replicas=1) for name in _PLANNED]
    box, taken = _eight_h100(), []
    for _ in range(5):
        began = perf_counter()
        make(demands, box, reserve_bytes=GIB)
        taken.append((perf_counter() - began) * 1e3)
    return taken


def _eight_h100() -> Inventory:
    total, reserved = 81559 << 20, 470 << 20
    gpus = tuple(
        Gpu(
            index=i,
            uuid=f"GPU-{i}",
            name="NVIDIA H100 80GB HBM3",
            total_bytes=total,
            reserved_bytes=reserved,
            used_bytes=0,
            free_bytes=total - reserved,
            compute_capability=(9, 0),
            numa_node=i // 4,
        )
        for i in range(8)
    )
    links = tuple(Link(a, b, nvlinks=18, p2p=True) for a in range(8) for b in range(a + 1, 8))
    cpu = Cpu("made up", tuple(range(64)), (tuple(range(64)),), 1024 * GIB, 1000 * GIB)
    return Inventory(cpu=cpu, gpus=gpus, links=links)


if __name__ == "__main__":
    sys.exit(main())
