"""What a decision adds to the time to first token: `model: auto` against a model by its name.

Both go through the same Roundhouse to the same scripted engine, with the same prompts, in rounds
that go the other way round every second time. By name there is nothing to decide: one model, one
replica. `auto` classifies, chooses between two models, and picks one of two replicas by prefix.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import goals, machine, prompts, routing_set, targets
from benchmarks.calls import OPENER, post
from benchmarks.processes import Server, ServerFailedError
from benchmarks.report import RESULTS
from benchmarks.rounds import WARM_UP_REQUESTS, Point, apply, line, load, progress, quick
from benchmarks.samples import Measure, Sample, Spread, added, values
from common.errors import RoundhouseError
from common.quality_config import TASKS

DIRECT: Final = "direct"
AUTO: Final = "auto"
CODER, WRITER = "coder", "writer"
MOST_ADDED_MS: Final = {"p50": 1.0, "p99": 3.0}
MEASURES: Final[dict[str, Measure]] = {
    "p50": lambda sample: sample.result.ttft_s.p50,
    "p99": lambda sample: sample.result.ttft_s.p99,
}
# Turns before the question, of about 2 KiB each: 64 blocks of a prefix tree.
_LONG_TURNS, _TURN_WORDS = 8, 350
_PROMPTS: Final = 1024  # more than a round asks
# As applications have them: the same in all their chats.
_SYSTEMS: Final = (
    "You are a helpful assistant.",
    "You are the assistant of a small company. Be brief and friendly.",
    "Answer in the language of the question. Say so when you do not know something.",
    "당신은 친절한 도우미입니다. 존댓말로 답하세요.",
)
# 32 streams of 16 tokens at 50 tokens/s: about 100 requests/s, which leaves the cores mostly idle,
# so that what is told is latency and not queueing.
POINTS: Final = tuple(
    Point(name, 32, 16, (), for_s=8.0, ramp_s=0.32, token_rate=50.0)
    for name in ("questions", "long-chats")
)
_COUNTED = re.compile(r"^roundhouse_route_decision_seconds_(sum|count) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One line of the report: milliseconds to the first token, and what the decision added."""

    point: str
    quantile: str
    by_name: Spread
    auto: Spread
    added: Spread
    most_added: float

    @property
    def reached(self) -> bool:
        return self.added.median <= self.most_added

    @property
    def verdict(self) -> str:
        return (
            f"{self.point}: {self.added.median:+.2f} ms at {self.quantile} "
            f"(wanted: at most {self.most_added:g} ms)"
        )


@dataclass(frozen=True)
class Found:
    rows: tuple[Row, ...]
    samples: tuple[Sample, ...]
    decision_ms: float | None  # the mean, as the router itself has counted it

    @property
    def failed(self) -> int:
        return sum(sample.result.failed for sample in self.samples)


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    points = [quick(point) if args.quick else point for point in POINTS]
    logs = Path(mkdtemp(prefix="roundhouse-bench-"))
    try:
        found = measure(points, 1 if args.quick else args.rounds, logs)
    except (ServerFailedError, RoundhouseError) as error:
        progress(str(error))
        return 1
    except KeyboardInterrupt:
        progress("interrupted; every server is stopped")
        return 130
    publish(found, vars(args), args.out or default_path())
    if found.failed:
        return 1
    missed = (f"decision, {row.verdict}" for row in found.rows if not row.reached)
    return goals.exit_code(missed, strict=args.strict)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    made.add_argument("--rounds", type=int, default=6)
    made.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    made.add_argument("--out", type=Path, help="default: benchmarks/results/MACHINE/DATE/")
    goals.add_strict(made)
    return made


def measure(points: Sequence[Point], count: int, logs: Path) -> Found:
    with ExitStack() as stack:
        engine = stack.enter_context(targets.fake_engine(DIRECT, logs, CODER, WRITER))
        router = stack.enter_context(
            targets.roundhouse(models(engine.url), logs, router={"policy": "prefix_aware"})
        )
        samples = tuple(_samples(engine, router, points, count))
        # The client's view of it; the router's own stands beside it.
        decision_ms = mean_decision_ms(metrics(router))
    return Found(rows(samples, points), samples, decision_ms)


def models(url: str) -> dict[str, Any]:
    """`auto` never takes the model that is asked by name: it is good at nothing."""
    coder = {task: 0.9 if task == "code" else 0.5 for task in TASKS}
    writer = {task: 0.5 if task == "code" else 0.9 for task in TASKS}
    both = {"source": [url, url], "engine": "openai"}
    return {
        DIRECT: targets.remote_model(url) | {"quality": dict.fromkeys(TASKS, 0.0)},
        CODER: both | {"quality": coder},
        WRITER: both | {"quality": writer},
    }


def _samples(
    engine: Server, router: Server, points: Sequence[Point], count: int
) -> Iterator[Sample]:
    for name in (DIRECT, AUTO):
        warm_up = bodies(points[0], name, -1)
        load(targets.target(router), warm_up, concurrency=8, requests=WARM_UP_REQUESTS)
    for number in range(count):
        order = (DIRECT, AUTO) if number % 2 == 0 else (AUTO, DIRECT)
        for point in points:
            post(engine.url + "/fake/pace", {"token_rate": point.token_rate})
            for name in order:
                made = bodies(point, name, number)
                used_s = router.cpu_s()
                result = apply(point, router, made)
                used_s = router.cpu_s() - used_s
                router.check()
                progress(line(f"round {number + 1}/{count}", name, point, result))
                yield Sample(number, name, point.name, result, used_s)


def bodies(point: Point, model: str, number: int) -> list[bytes]:
    """The same prompts for both, others in every round, each of a user of its own: no conversation
    is met again, though its system prompt is."""
    rng = random.Random(f"{point.name} {number}")
    turns = _LONG_TURNS if point.name == "long-chats" else 0
    asked = rng.choices(routing_set.load(routing_set.OURS), k=_PROMPTS)
    return [body(model, prompt.text, turns, point.tokens, rng) for prompt in asked]


def body(model: str, question: str, turns: int, tokens: int, rng: random.Random) -> bytes:
    roles = ("user", "assistant") * turns
    messages = [
        {"role": "system", "content": rng.choice(_SYSTEMS)},
        *({"role": role, "content": prompts.text(_TURN_WORDS, rng)} for role in roles[:turns]),
        {"role": "user", "content": question},
    ]
    asked = {"model": model, "messages": messages, "max_tokens": tokens, "stream": True}
    asked |= {"user": f"user-{rng.random()}"}
    return json.dumps(asked | {"stream_options": {"include_usage": True}}).encode()


def rows(samples: Sequence[Sample], points: Sequence[Point]) -> tuple[Row, ...]:
    return tuple(
        Row(
            point.name,
            quantile,
            by_name=_ms(values(samples, DIRECT, point.name, take)),
            auto=_ms(values(samples, AUTO, point.name, take)),
            added=_ms(added(samples, AUTO, DIRECT, point.name, take)),
            most_added=MOST_ADDED_MS[quantile],
        )
        for point in points
        for quantile, take in MEASURES.items()
    )


def _ms(spread: Spread | None) -> Spread:
    assert spread is not None, "every point is measured in every round"
    return Spread(spread.median * 1e3, spread.least * 1e3, spread.greatest * 1e3)


def metrics(router: Server) -> str:
    headers = targets.target(router).headers
    request = urllib.request.Request(f"{router.url}/metrics", headers=headers)
    with OPENER.open(request, timeout=30) as answer:
        return str(answer.read().decode())


def mean_decision_ms(page: str) -> float | None:
    counted = {kind: float(value) for kind, value in _COUNTED.findall(page)}
    return counted["sum"] / counted["count"] * 1e3 if counted.get("count") else None


def default_path() -> Path:
    name = machine.describe().name
    return RESULTS / name / f"{datetime.now(UTC):%Y-%m-%d}" / "decision.json"


def publish(found: Found, options: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document(found, options), indent=1) + "\n")
    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(_table(found.rows))
    if found.decision_ms is not None:
        console.print(f"Mean of a decision by the router's own count: {found.decision_ms:.2f} ms")
    for row in found.rows:
        reached = "reached" if row.reached else "MISSED "
        console.print(f"{reached}  {row.verdict}", soft_wrap=True)
    if found.failed:
        console.print(f"{found.failed} requests FAILED: the figures are worthless")
    console.print(f"Raw figures: {out}", soft_wrap=True)


def document(found: Found, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "benchmark": "decision",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(machine.describe()),
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in options.items()},
        "rows": [asdict(row) | {"reached": row.reached} for row in found.rows],
        "decision_ms": found.decision_ms,
        "samples": [asdict(sample) for sample in found.samples],
    }


def _table(lines: Sequence[Row]) -> Table:
    title = "Time to first token at 32 concurrent, ms: median over the rounds (least to greatest)"
    table = Table("prompts", "quantile", title=title, title_justify="left")
    for name in ("by name", "auto", "added", "wanted"):
        table.add_column(name, justify="right")
    for row in lines:
        spreads = (
            f"{each.median:.2f} ({each.least:.2f} to {each.greatest:.2f})"
            for each in (row.by_name, row.auto, row.added)
        )
        table.add_row(row.point, row.quantile, *spreads, f"<= {row.most_added:g}")
    return table


if __name__ == "__main__":
    # One way out for both signals: every `with` ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
