"""What Roundhouse adds to an engine: bare against behind it, in interleaved rounds.

Two parts. `vllm`: a real engine, for throughput, latency, start-up and memory. `fake`: an engine
that costs next to nothing, so that the routers are all that is measured; vllm-router (Rust)
stands beside ours there. Everything shares this machine's cores, the load client included.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from benchmarks import machine, prompts, report, targets
from benchmarks.calls import get, post
from benchmarks.processes import Server, ServerFailedError
from benchmarks.report import Part, Startup
from benchmarks.rounds import WARM_UP_REQUESTS, Point, load, progress, quick, rounds
from benchmarks.samples import Sample
from benchmarks.targets import UnavailableError
from common.errors import RoundhouseError
from engines import sources

FAKE_MODEL: Final = "fake"
PROMPT_TOKENS: Final = 128
OUTPUT_TOKENS: Final = 64


RATE: Final = ("requests/s", "own CPU, us/request")
CHUNKS: Final = ("chunks/s", "own CPU, us/chunk")
TTFT: Final = ("TTFT p50, ms", "TTFT p99, ms")
ALL: Final = ("output tokens/s", *TTFT, "ITL p50, ms")

# The paced points keep the cores mostly idle (32 streams of 50 tokens/s are 1,600 chunks/s), so
# that they tell latency and not queueing; spread: 32 streams out of step, as clients are; burst:
# 32 requests at the same moment.
FAKE_POINTS: Final = (
    Point("one-token", 32, 1, RATE, stream=False, for_s=3.0),
    Point("chunks", 32, 512, CHUNKS, for_s=4.0),
    Point("paced-1", 1, 4, TTFT, for_s=6.0, token_rate=200.0),
    Point(
        "paced-32-spread",
        32,
        64,
        (*TTFT, "own CPU, us/chunk"),
        for_s=8.0,
        ramp_s=1.3,
        token_rate=50.0,
    ),
    Point("paced-32-burst", 32, 16, TTFT, for_s=3.0, token_rate=200.0),
)
FAKE_NOTES: Final = (
    "chunks/s above bare: a router that passes several chunks on in one write spares the client",
    "own CPU: of the target's processes alone, what they do without requests included",
    "Roundhouse checks an API key; vllm-router was given none to check",
)
VLLM_POINTS: Final = (
    Point("c1", 1, OUTPUT_TOKENS, ALL, requests=8),
    Point("c8", 8, OUTPUT_TOKENS, ALL, requests=32),
    Point("c32", 32, OUTPUT_TOKENS, ALL, requests=64),
)


@dataclass(frozen=True)
class Options:
    rounds: int
    quick: bool
    only: str
    without: frozenset[str]
    source: str
    logs: Path


def main(arguments: Sequence[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    # One way out for both signals: every `with` ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    options = Options(
        rounds=1 if args.quick else args.rounds,
        quick=args.quick,
        only=args.only,
        without=frozenset(args.without),
        source=args.source,
        logs=Path(mkdtemp(prefix="roundhouse-bench-")),
    )
    parts: list[Part] = []
    code = 0
    try:
        parts.extend(measure(options))
    except (ServerFailedError, UnavailableError, RoundhouseError) as error:
        progress(str(error))
        code = 1
    except KeyboardInterrupt:
        progress("interrupted; every server is stopped")
        return 130
    if parts:  # what was measured before a server failed is not thrown away
        report.publish(parts, vars(args), out=args.out, as_json=args.json)
    return code or int(report.failed(parts))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    made.add_argument("--only", choices=("fake", "vllm"), default="")
    made.add_argument(
        "--without", action="append", default=[], choices=("roundhouse", "vllm-router")
    )
    made.add_argument("--source", default="embedded:smollm2", help="the model, as a config says it")
    made.add_argument("--out", type=Path, help="default: benchmarks/results/MACHINE/DATE/")
    made.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return made


def measure(options: Options) -> Iterator[Part]:
    if options.only != "vllm":
        yield fake_part(options)
    if options.only != "fake":
        yield vllm_part(options)


def figures(points: Sequence[Point]) -> dict[str, tuple[str, ...]]:
    return {point.name: point.figures for point in points}


def fake_part(options: Options) -> Part:
    notes: list[str] = []
    with ExitStack() as stack:
        engine = stack.enter_context(targets.fake_engine(FAKE_MODEL, options.logs))
        servers = [engine]
        if "roundhouse" not in options.without:
            models = {FAKE_MODEL: targets.remote_model(engine.url)}
            servers.append(stack.enter_context(targets.roundhouse(models, options.logs)))
        if "vllm-router" not in options.without:
            servers += vllm_routers(stack, engine.url, options.logs, notes)
        points = [quick(point) if options.quick else point for point in FAKE_POINTS]

        def prepare(point: Point) -> None:
            post(engine.url + "/fake/pace", {"token_rate": point.token_rate})

        samples = tuple(rounds(servers, points, options.rounds, fake_bodies, prepare))
        memory = {server.name: server.memory() for server in servers}
        notes += unasked(samples, len(servers), get(engine.url + "/fake/stats")["requests"])
    return Part("fake", samples, figures(points), memory=memory, notes=(*FAKE_NOTES, *notes))


def unasked(samples: Sequence[Sample], servers: int, seen: int) -> list[str]:
    """A router that retries, or answers from a cache, is not doing the work that is measured."""
    sent = servers * WARM_UP_REQUESTS + sum(each.result.requests for each in samples)
    return [] if seen == sent else [f"{sent} requests were sent, but the engine saw {seen}"]


def vllm_routers(stack: ExitStack, url: str, logs: Path, notes: list[str]) -> list[Server]:
    """Left out with the reason where they do not run: they are for comparison only."""
    try:
        return [
            stack.enter_context(targets.vllm_router(policy, url, logs))
            for policy in ("cache_aware", "round_robin")
        ]
    except (ServerFailedError, UnavailableError) as error:
        notes.append(f"vllm-router is left out: {error}")
        return []


def fake_bodies(point: Point, number: int) -> list[bytes]:
    texts = prompts.mixed(256, seed=number)
    return prompts.bodies(FAKE_MODEL, texts, point.tokens, stream=point.stream)


def vllm_part(options: Options) -> Part:
    model, gpus = "bench", bool(machine.gpu_names())
    folder = sources.resolve(model, options.source, progress)
    makers: list[Callable[[], Server]] = [
        lambda: targets.bare_vllm(folder, model, options.logs, gpus=gpus)
    ]
    if "roundhouse" not in options.without:
        models = {model: targets.vllm_model(str(folder), gpus=gpus)}
        makers.append(lambda: targets.roundhouse(models, options.logs))
    startups = tuple(starts(makers, model, 0 if options.quick else 2))
    with ExitStack() as stack:
        servers = [stack.enter_context(make()) for make in makers]
        words, prompt_tokens = words_for(PROMPT_TOKENS, servers[0].url, model)

        def bodies(point: Point, number: int) -> list[bytes]:
            texts = prompts.distinct(words, point.requests or 64, seed=number)
            return prompts.bodies(model, texts, point.tokens, stream=True)

        points = [quick(point) if options.quick else point for point in VLLM_POINTS]
        samples = tuple(rounds(servers, points, options.rounds, bodies, lambda _: None))
        memory = {server.name: server.memory() for server in servers}
    notes = (f"prompts of {prompt_tokens} tokens, {OUTPUT_TOKENS} tokens out, all distinct",)
    return Part("vllm", samples, figures(points), memory=memory, startups=startups, notes=notes)


def starts(makers: Sequence[Callable[[], Server]], model: str, times: int) -> Iterator[Startup]:
    """Each alone on the machine. The first of each also reads its files from the disk."""
    for number in range(times):
        for make in makers:
            with make() as server:
                progress(f"start {number + 1}/{times} of {server.name}: {server.ready_s:.1f} s")
                body = prompts.body(model, "Hello", 1, stream=False)
                result = load(targets.target(server), [body], concurrency=1, requests=1)
                answered_s = server.ready_s + result.e2el_s.p50
                yield Startup(server.name, number + 1, server.ready_s, answered_s)


def words_for(tokens: int, url: str, model: str) -> tuple[int, int]:
    """How many words make a chat prompt of about so many tokens, and how many tokens they are."""
    fixed = count_tokens(url, model, 0)
    per_word = (count_tokens(url, model, 100) - fixed) / 100
    words = max(1, round((tokens - fixed) / per_word))
    return words, count_tokens(url, model, words)


def count_tokens(url: str, model: str, words: int) -> int:
    prompt = " ".join(prompts.distinct(words, 1, seed=0))
    message = {"role": "user", "content": prompt}
    answer = post(url + "/tokenize", {"model": model, "messages": [message]})
    return int(answer["count"])


if __name__ == "__main__":
    sys.exit(main())
