"""Interleaved rounds: every point of every target in turn, so that drift hits all alike."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import uvloop

from benchmarks import targets
from benchmarks.load import LoadResult, run
from benchmarks.processes import Server
from benchmarks.samples import Sample
from benchmarks.targets import Target

WARM_UP_REQUESTS: Final = 16


@dataclass(frozen=True)
class Point:
    """One measurement, of every target in every round."""

    name: str
    concurrency: int
    tokens: int
    figures: tuple[str, ...]
    stream: bool = True
    requests: int | None = None
    for_s: float = inf
    ramp_s: float = 0.0
    token_rate: float = 0.0  # of the fake engine, per stream; 0 is as fast as it can


Bodies = Callable[[Point, int], list[bytes]]


def quick(point: Point) -> Point:
    requests = point.requests and max(point.concurrency, point.requests // 4)
    return replace(point, requests=requests, for_s=point.for_s / 4)


def rounds(
    servers: Sequence[Server],
    points: Sequence[Point],
    count: int,
    bodies: Bodies,
    prepare: Callable[[Point], None],
) -> Iterator[Sample]:
    """Every point of every target in turn; every other round goes the other way round."""
    for server in servers:
        warm_up(server, bodies(points[0], -1))
    for number in range(count):
        order = servers if number % 2 == 0 else servers[::-1]
        for place, point in enumerate(points):
            prepare(point)
            for turn, server in enumerate(order):
                # Prompts that no target and no cache has seen, in any round.
                seed = (number * len(points) + place) * len(order) + turn
                made = bodies(point, seed)
                used_s = server.cpu_s()
                result = apply(point, server, made)
                used_s = server.cpu_s() - used_s
                server.check()
                progress(line(f"round {number + 1}/{count}", server.name, point, result))
                yield Sample(number, server.name, point.name, result, used_s)


def warm_up(server: Server, bodies: list[bytes]) -> None:
    result = load(targets.target(server), bodies, concurrency=8, requests=WARM_UP_REQUESTS)
    server.check()
    if result.failed:
        raise server.failure(f"does not answer as it should, {result.failures}")


def apply(point: Point, server: Server, bodies: list[bytes]) -> LoadResult:
    return load(
        targets.target(server),
        bodies,
        concurrency=point.concurrency,
        requests=point.requests,
        for_s=point.for_s,
        ramp_s=point.ramp_s,
        expected_tokens=point.tokens,
    )


def load(each: Target, bodies: list[bytes], **options: Any) -> LoadResult:
    return uvloop.run(run(each.url, bodies=bodies, headers=each.headers, **options))


def line(where: str, target: str, point: Point, result: LoadResult) -> str:
    failed = f"  FAILED {result.failures}" if result.failures else ""
    return (
        f"{where}  {target:<24} {point.name:<16} {result.requests_per_s:9.1f} req/s"
        f" {result.output_tokens_per_s:10.1f} tok/s  ttft p50 {result.ttft_s.p50 * 1e3:7.2f} ms"
        f"{failed}"
    )


def progress(text: str) -> None:
    """On stderr, so that stdout is the report alone."""
    print(text, file=sys.stderr, flush=True)
