"""How much of one replica's prefix cache several keep, by policy, and how even their load is.

Two parts. `simulated`: engines with a cache of their own model, the same in every run, and what a
decision costs on this machine. `real`: vLLM behind `roundhouse serve`, read by its own counters,
with conversations and with prompts that have nothing in common.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from benchmarks import conversations, decision_cost, goals, real_replicas
from benchmarks.cache_simulation import TOKENS_PER_BLOCK, Engine, Outcome, prepare, simulate
from benchmarks.conversations import Trace
from benchmarks.decision_cost import Cost
from benchmarks.prefix_report import OURS, Row, default_path, document, show
from benchmarks.processes import ServerFailedError
from benchmarks.real_replicas import Run
from common.errors import RoundhouseError
from engines import sources
from router.policies import POLICIES

REPLICAS: Final = (2, 4, 8)
KV_TOKENS: Final = 48_000  # of one simulated replica
HELD: Final = 8  # conversations at a time, for each replica
REAL_POLICIES: Final = (OURS, "least_loaded", "round_robin")
_REAL_CONVERSATIONS: Final = 40
_REAL_DISTINCT: Final = 48


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    rows: list[Row] = []
    costs: list[Cost] = []
    code = 0
    try:
        if args.only != "real":
            rows.extend(simulated(args.scale, args.seed))
            costs += decision_cost.measure(100 if args.scale < 1 else 1000)
        if args.only != "simulated":
            rows.extend(real(args.source, args.seed))
    except (ServerFailedError, RoundhouseError) as error:
        print(error, file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("interrupted; every server is stopped", file=sys.stderr)
        return 130
    publish(rows, costs, args.out or default_path(), as_json=args.json)
    missed = (
        f"{row.part}, {row.trace}, {row.replicas} replicas" for row in rows if row.reached is False
    )
    return code or goals.exit_code(missed, strict=args.strict)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.prefix_routing", description=__doc__)
    made.add_argument("--only", choices=("simulated", "real"), default="")
    made.add_argument("--scale", type=float, default=1.0, help="share of the simulated requests")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--source", default="embedded:smollm2", help="the model, as a config says it")
    made.add_argument("--out", type=Path, help="default: benchmarks/results/MACHINE/DATE/")
    made.add_argument("--json", action="store_true", help="print JSON instead of tables")
    goals.add_strict(made)
    return made


def publish(rows: Sequence[Row], costs: Sequence[Cost], out: Path, *, as_json: bool) -> None:
    made = document(rows, costs)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n")
    if as_json:
        print(json.dumps(made))
    else:
        show(rows, costs)
        print(f"Raw figures: {out}")


def simulated(scale: float = 1.0, seed: int = 0) -> Iterator[Row]:
    """One replica as large as all of them together, then the policies over the replicas."""
    for trace in conversations.traces(scale, seed):
        scripts = prepare(trace)
        for replicas in REPLICAS:
            held = HELD * replicas
            single = simulate(scripts, *_setting("round_robin", 1, KV_TOKENS * replicas), held)
            yield _simulated_row(trace, 1, f"one of {replicas} times the size", single, single)
            for name in POLICIES:
                found = simulate(scripts, *_setting(name, replicas, KV_TOKENS), held)
                yield _simulated_row(trace, replicas, name, found, single)


def _setting(policy: str, replicas: int, kv_tokens: int) -> tuple[Any, list[Engine]]:
    made = POLICIES[policy]()
    engines = [Engine(f"m-{n}", kv_tokens // TOKENS_PER_BLOCK) for n in range(replicas)]
    for engine in engines:
        made.provision(engine.id, kv_tokens)
    return made, engines


def _simulated_row(
    trace: Trace, replicas: int, policy: str, found: Outcome, single: Outcome
) -> Row:
    of_single = found.hit_ratio / single.hit_ratio if trace.gains and single.hit_ratio else None
    return Row(
        "simulated",
        trace.name,
        replicas,
        policy,
        found.hit_ratio,
        of_single,
        found.requests_spread,
        found.in_flight_spread,
    )


def real(source: str, seed: int) -> Iterator[Row]:
    """One replica, then two with each policy; every time new engines, so that caches are empty."""
    logs = Path(mkdtemp(prefix="roundhouse-bench-"))
    folder = str(
        sources.resolve(real_replicas.MODEL, source, lambda told: print(told, file=sys.stderr))
    )
    traces = (
        conversations.small(_REAL_CONVERSATIONS, seed),
        conversations.small_distinct(_REAL_DISTINCT, seed),
    )
    single: dict[str, float] = {}
    for replicas, policy in ((1, "least_loaded"), *((2, name) for name in REAL_POLICIES)):
        for run in real_replicas.run(folder, replicas, policy, traces, HELD, logs):
            single.setdefault(run.trace.name, run.hit_ratio)
            print(_told(run), file=sys.stderr, flush=True)
            yield _real_row(run, single[run.trace.name])


def _real_row(run: Run, single: float) -> Row:
    return Row(
        "real",
        run.trace.name,
        run.replicas,
        "one replica" if run.replicas == 1 else run.policy,
        run.hit_ratio,
        run.hit_ratio / single if run.trace.gains and single else None,
        run.requests_spread,
        run.tokens_spread,
    )


def _told(run: Run) -> str:
    each = ", ".join(
        f"{name} {run.requests[name]} requests, {cached.hits:.0f} of {cached.queries:.0f} tokens"
        for name, cached in sorted(run.cached.items())
    )
    return f"{run.trace.name}, {run.replicas} x {run.policy}: {run.hit_ratio:.1%} found ({each})"


if __name__ == "__main__":
    # One way out for both signals: every `with` ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
