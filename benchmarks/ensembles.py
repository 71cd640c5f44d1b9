"""Single models, a vote of samples and a cascade on the same questions, against real engines.

Starts `roundhouse serve` with the embedded model on vLLM and, as 4-bit GGUF, on llama.cpp, or asks
the Roundhouse at --url. Both are the same small model: nothing is said of larger ones. Each way to
ask has all questions in turn, a few at a time, so latencies are those under that load.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import aiohttp

from benchmarks import targets
from benchmarks.ensembles_figures import Given, difference, figures
from benchmarks.ensembles_questions import Question, load
from benchmarks.ensembles_report import Found, default_path, publish
from benchmarks.processes import Server, ServerFailedError
from benchmarks.rounds import progress
from common.errors import EngineError, RoundhouseError

LARGE, SMALL = "smollm2", "smollm2-gguf"
TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Way:
    """One way to ask: a single model, or an ensemble by its name."""

    model: str
    temperature: float

    @property
    def name(self) -> str:
        return f"{self.model}, temperature {self.temperature:g}"

    @property
    def is_single(self) -> bool:
        return not self.model.startswith(("ensemble:", "cascade:"))


# A single model as it answers best, and as its samples are drawn.
WAYS: Final = (
    Way(LARGE, 0.0),
    Way(SMALL, 0.0),
    Way(LARGE, 0.7),
    Way(f"ensemble:vote:5:{LARGE}", 0.7),
    Way(f"cascade:{SMALL}>{LARGE}", 0.7),
)


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    questions = load()[:: 20 if args.quick else 1]
    try:
        with ExitStack() as stack:
            target = (
                targets.Target("given", args.url, _bearer(args.key))
                if args.url
                else targets.target(stack.enter_context(own_server()))
            )
            answers = asyncio.run(_all(target, questions, args))
    except (ServerFailedError, RoundhouseError, aiohttp.ClientError) as error:
        progress(str(error))
        return 1
    except KeyboardInterrupt:
        progress("interrupted; every server is stopped")
        return 130
    publish(compared(answers), vars(args), args.out or default_path())
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.ensembles", description=__doc__)
    made.add_argument("--url", help="of a Roundhouse that serves both models; default: its own")
    made.add_argument("--key", help="its API key")
    made.add_argument("--max-tokens", type=int, default=16)
    made.add_argument("--concurrency", type=int, default=4, help="questions at a time")
    made.add_argument("--quick", action="store_true", help="every twentieth question")
    made.add_argument("--out", type=Path, help="default: benchmarks/results/MACHINE/DATE/")
    return made


def _bearer(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def own_server() -> Server:
    models: dict[str, Any] = {
        LARGE: {"source": "embedded:smollm2", "engine": "vllm"},
        SMALL: {"source": "embedded:smollm2-gguf", "engine": "llamacpp"},
    }
    return targets.roundhouse(models, Path(mkdtemp(prefix="roundhouse-bench-")))


async def _all(
    target: targets.Target, questions: Sequence[Question], args: argparse.Namespace
) -> dict[str, list[Given]]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    answers: dict[str, list[Given]] = {}
    async with aiohttp.ClientSession(target.url, headers=target.headers, timeout=timeout) as http:
        for way in WAYS:
            await asked(http, way, questions[0], args.max_tokens)  # the first call of all is slow
            answers[way.name] = await _each(http, way, questions, args)
            progress(f"{way.name}: {sum(each.is_right for each in answers[way.name])} right")
    return answers


async def _each(
    http: aiohttp.ClientSession, way: Way, questions: Sequence[Question], args: argparse.Namespace
) -> list[Given]:
    free = asyncio.Semaphore(args.concurrency)

    async def one(question: Question) -> Given:
        async with free:
            return await asked(http, way, question, args.max_tokens)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def asked(
    http: aiohttp.ClientSession, way: Way, question: Question, max_tokens: int
) -> Given:
    began_s = time.perf_counter()
    async with http.post("/v1/chat/completions", json=body(way, question, max_tokens)) as response:
        answer = await response.json()
        if response.status != 200:
            raise EngineError(f"{way.name}, {question.id}: {answer}")
    return given(question, answer, time.perf_counter() - began_s)


def body(way: Way, question: Question, max_tokens: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "model": way.model,
        "messages": question.messages,
        "max_tokens": max_tokens,
        "temperature": way.temperature,
    }
    return made if way.is_single else made | {"routing": {"trace": True}}


def given(question: Question, answer: dict[str, Any], took_s: float) -> Given:
    trace, usage = answer.get("roundhouse") or {}, answer["usage"]
    return Given(
        question,
        answer["choices"][0]["message"]["content"] or "",
        answer["model"],
        took_s,
        usage["prompt_tokens"],
        usage["completion_tokens"],
        trace.get("requests", 1),
        trace.get("wasted_tokens", 0),
        bool(trace.get("escalations")),
    )


def compared(answers: dict[str, list[Given]]) -> Found:
    found = tuple(figures(name, given) for name, given in answers.items())
    singles = [way.name for way in WAYS if way.is_single]
    best = max((f for f in found if f.name in singles), key=lambda f: f.right.passed).name
    return Found(
        found,
        tuple(
            difference(name, given, best, answers[best])
            for name, given in answers.items()
            if name not in singles
        ),
        answers,
    )


if __name__ == "__main__":
    # One way out for both signals: the server is stopped.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
