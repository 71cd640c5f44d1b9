"""The default policy from outside: who gets which prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, ask

Http = Callable[..., httpx.Client]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def prompt(about: int, words: int = 300) -> str:
    return " ".join(f"{about}-{word}" for word in range(words))


def replica_of(client: httpx.Client, text: str, tokens: int = 1) -> str:
    body = ask(tokens) | {"messages": [{"role": "user", "content": text}]}
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200
    return str(answer.headers["x-roundhouse-replica"])


def test_conversations_stay_with_their_replicas_and_are_shared_out(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(one, two))
    homes = {
        talk: {replica_of(client, prompt(talk, 200 * turn)) for turn in range(1, 5)}
        for talk in range(8)
    }
    assert all(len(home) == 1 for home in homes.values())
    assert Counter(min(home) for home in homes.values()) == {"m-0": 4, "m-1": 4}


def test_prompts_with_nothing_in_common_are_spread(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    client = http(build(one, two))
    served = Counter(pool.map(lambda n: replica_of(client, prompt(n)), range(20)))
    assert min(served["m-0"], served["m-1"]) >= 5


def test_one_prompt_of_all_sticks_only_within_the_bound(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http, pool: ThreadPoolExecutor
) -> None:
    for engine in (one, two):
        engine.pace(first_token_delay_s=0.3)
    client = http(build(one, two))
    served = Counter(pool.map(lambda _: replica_of(client, prompt(0)), range(16)))
    assert min(served["m-0"], served["m-1"]) >= 4
