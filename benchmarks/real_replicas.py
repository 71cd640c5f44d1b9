"""Conversations with real engines behind `roundhouse serve`, and what their caches counted."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import machine, targets
from benchmarks.cache_simulation import spread
from benchmarks.calls import OPENER
from benchmarks.conversations import Conversation, Trace
from benchmarks.processes import Server

MODEL: Final = "bench"
_QUERIES: Final = "vllm:prefix_cache_queries_total"
_HITS: Final = "vllm:prefix_cache_hits_total"
_ANSWER_TOKENS: Final = 16
_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True)
class Cached:
    """One engine's counters, in prompt tokens."""

    queries: float
    hits: float


@dataclass(frozen=True)
class Run:
    """One trace with one policy."""

    trace: Trace
    replicas: int
    policy: str
    hit_ratio: float
    requests_spread: float
    tokens_spread: float
    requests: dict[str, int]
    cached: dict[str, Cached]


def run(
    source: str, replicas: int, policy: str, traces: Sequence[Trace], held: int, logs: Path
) -> Iterator[Run]:
    """Starts the replicas, and holds each trace's conversations, `held` at a time."""
    with _server(source, replicas, policy, logs) as server:
        for trace in traces:
            yield measure(server.url, replicas, policy, trace, held)


def measure(url: str, replicas: int, policy: str, trace: Trace, held: int) -> Run:
    """What one trace added to the engines' counters."""
    before = _counters(url)
    requests = asyncio.run(_hold(url, trace, held))
    after = _counters(url)
    none = Cached(0.0, 0.0)
    cached = {
        name: Cached(
            each.queries - before.get(name, none).queries, each.hits - before.get(name, none).hits
        )
        for name, each in after.items()
    }
    asked = [each.queries for each in cached.values()]
    return Run(
        trace,
        replicas,
        policy,
        sum(each.hits for each in cached.values()) / sum(asked),
        spread([requests[name] for name in cached]),
        spread(asked),
        dict(requests),
        cached,
    )


def _server(source: str, replicas: int, policy: str, logs: Path) -> Server:
    gpus = bool(machine.gpu_names())
    made = targets.roundhouse({MODEL: targets.vllm_model(source, gpus=gpus)}, logs)
    config = Path(made.command[-1])
    document = json.loads(config.read_text())
    document["models"][MODEL]["placement"] = {"replicas": replicas}
    document["router"] = {"policy": policy}
    config.write_text(json.dumps(document, indent=2))
    return made


async def _hold(url: str, trace: Trace, held: int) -> Counter[str]:
    """How many requests each replica answered."""
    left = iter(trace.conversations)
    requests: Counter[str] = Counter()
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as client, asyncio.TaskGroup() as group:
        for _ in range(held):
            group.create_task(_hold_one_by_one(client, url, left, requests))
    return requests


async def _hold_one_by_one(
    client: aiohttp.ClientSession,
    url: str,
    left: Iterator[Conversation],
    requests: Counter[str],
) -> None:
    for conversation in left:
        answers: list[str] = []
        for turn in range(len(conversation.turns)):
            replica, answer = await _ask(client, url, conversation, turn, answers)
            requests[replica] += 1
            answers.append(answer)


async def _ask(
    client: aiohttp.ClientSession,
    url: str,
    conversation: Conversation,
    turn: int,
    answers: list[str],
) -> tuple[str, str]:
    wanted = {"max_tokens": _ANSWER_TOKENS, "temperature": 0, "ignore_eos": True}
    body = conversation.body(MODEL, turn, answers, **wanted)
    headers = {
        "authorization": f"Bearer {targets.API_KEY}",
        "content-type": "application/json",
    }
    async with client.post(f"{url}/v1/chat/completions", data=body, headers=headers) as reply:
        reply.raise_for_status()
        document: dict[str, Any] = await reply.json()
        return reply.headers["x-roundhouse-replica"], document["choices"][0]["message"]["content"]


def _counters(url: str) -> dict[str, Cached]:
    headers = {"authorization": f"Bearer {targets.API_KEY}"}
    with OPENER.open(urllib.request.Request(f"{url}/metrics", headers=headers), timeout=30) as page:
        return counters(page.read().decode())


def counters(page: str) -> dict[str, Cached]:
    """Every replica's prefix cache, from the router's metrics page."""
    found: dict[str, dict[str, float]] = {_QUERIES: {}, _HITS: {}}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in found:
                by_replica = found[sample.name]
                name = sample.labels["replica"]
                by_replica[name] = by_replica.get(name, 0.0) + sample.value
    return {
        name: Cached(queries, found[_HITS].get(name, 0.0))
        for name, queries in found[_QUERIES].items()
    }
