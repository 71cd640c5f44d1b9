"""What a policy's decision costs: taking the prompt apart, and picking among the replicas."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from benchmarks.cache_simulation import Engine
from benchmarks.load import Quantiles
from benchmarks.prompts import text
from router.call import Call, call_of
from router.policies import POLICIES

_PATH: Final = "/v1/chat/completions"
SIZES: Final = (4 << 10, 64 << 10)
REPLICAS: Final = (2, 8, 32)
_KV_TOKENS: Final = 500_000


@dataclass(frozen=True)
class Cost:
    what: str
    prompt_bytes: int
    replicas: int | None
    p50_ms: float
    p99_ms: float


def measure(count: int = 1000) -> Iterator[Cost]:
    rng = random.Random(0)
    for size in SIZES:
        bodies = [_body(size, rng) for _ in range(64)]
        yield _cost("take apart", size, None, _takes(bodies), count)
        calls = [call_of(body, _PATH, session=str(n)) for n, body in enumerate(bodies)]
        for name in POLICIES:
            for replicas in REPLICAS:
                yield _cost(name, size, replicas, _picks(name, replicas, calls, rng), count)


def _cost(
    what: str, size: int, replicas: int | None, once: Callable[[int], object], count: int
) -> Cost:
    taken = []
    for number in range(count):
        began = perf_counter()
        once(number)
        taken.append((perf_counter() - began) * 1e3)
    spread = Quantiles.of(taken)
    return Cost(what, size, replicas, spread.p50, spread.p99)


def _takes(bodies: list[bytes]) -> Callable[[int], object]:
    return lambda number: call_of(bodies[number % 64], _PATH)


def _picks(
    name: str, replicas: int, calls: list[Call], rng: random.Random
) -> Callable[[int], object]:
    """Half of the prompts were seen by all replicas, so that every tree is searched and full."""
    policy = POLICIES[name]()
    engines = [Engine(f"m-{n}", 0, in_flight=rng.randint(8, 12)) for n in range(replicas)]
    for engine in engines:
        policy.provision(engine.id, _KV_TOKENS)
        for call in calls[:32]:
            policy.pick([engine], call)
    return lambda number: policy.pick(engines, calls[number % 64])


def _body(size: int, rng: random.Random) -> bytes:
    """A conversation of messages of about 1 KiB."""
    messages, left, role = [], size, "user"
    while left > 0:
        messages.append({"role": role, "content": text(190, rng)})
        left -= len(messages[-1]["content"])
        role = "assistant" if role == "user" else "user"
    return json.dumps({"model": "m", "messages": messages, "stream": True}).encode()
