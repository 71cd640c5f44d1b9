"""Many requests at once over engines that fail at random: each gets exactly one answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import httpx2 as httpx
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask, contents, events, eventually

N_REQUESTS = 200
FAULTS: list[dict[str, Any]] = [
    {"mode": "ok"},
    {"mode": "status", "status": 500, "times": 5},
    {"mode": "status", "status": 429, "times": 5},
    {"mode": "status", "status": 400, "times": 2},
    {"mode": "cut_before_first_byte", "times": 5},
    {"mode": "cut_after_headers", "times": 5},
    {"mode": "cut_stream", "n": 1, "times": 5},
    {"mode": "error_event_first", "times": 5},
    {"mode": "error_event_after", "n": 1, "times": 3},
    {"mode": "stall_after", "n": 1, "times": 3},
    {"mode": "hang", "times": 3},
    {"mode": "slow_first_token", "seconds": 0.05, "times": 5},
]
TYPED = {"engine_failed", "engine_disconnected", "engine_dead", "engine_timeout", "queue_full"}


class Storm:
    """A seeded mix of requests; `outcomes` counts how they ended."""

    def __init__(self, house: House, engines: list[FakeEngine], seed: int) -> None:
        self.house = house
        self.engines = engines
        self.random = random.Random(seed)
        self.outcomes: Counter[str] = Counter()

    async def blow(self) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=self.house.url, timeout=30, trust_env=False, verify=False, limits=limits
        ) as client:
            weather = asyncio.create_task(self.weather())
            tasks = []
            for number in range(N_REQUESTS):
                tasks.append(asyncio.create_task(self.request(client, f"r{number}")))
                await asyncio.sleep(self.random.random() * 0.005)
            await asyncio.wait_for(asyncio.gather(*tasks), 60)
            weather.cancel()

    async def weather(self) -> None:
        while True:
            engine = self.random.choice(self.engines)
            await asyncio.to_thread(engine.behave, **self.random.choice(FAULTS))
            await asyncio.sleep(0.02)

    async def request(self, client: httpx.AsyncClient, name: str) -> None:
        stream = self.random.random() < 0.6
        path = self.random.choice([CHAT, CHAT, MESSAGES])
        tokens = self.random.randint(1, 30)
        body = ask(tokens, stream=stream)
        if self.random.random() < 0.1:
            self.outcomes[await self.leave(client, path, body)] += 1
            return
        answer = await client.post(path, json=body, headers={"x-request-id": name})
        assert answer.headers["x-request-id"] == name
        self.outcomes[self.judge(answer, tokens, stream)] += 1

    async def leave(self, client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(self.random.random() * 0.02):
                await client.post(path, json=body)
                await asyncio.sleep(1)
        return "left"

    def judge(self, answer: httpx.Response, tokens: int, stream: bool) -> str:
        if answer.status_code == 200:
            return self.judge_stream(answer, tokens) if stream else self.judge_whole(answer, tokens)
        error = answer.json()["error"]
        if error.get("src"):
            assert error["code"] in TYPED, error
        else:
            assert error["message"] == "a fake fault"
        return f"refused {answer.status_code}"

    def judge_whole(self, answer: httpx.Response, tokens: int) -> str:
        body = answer.json()
        text = body["content"][0]["text"] if "content" in body else None
        text = text or body["choices"][0]["message"]["content"]
        assert text == "".join(f"t{i} " for i in range(tokens))
        return "whole"

    def judge_stream(self, answer: httpx.Response, tokens: int) -> str:
        found = events(answer.text)
        errors = [e for e in found if '"error":{' in e.replace('"error": {', '"error":{')]
        is_chat = answer.request.url.path == CHAT
        if errors:
            assert len(errors) == 1
            assert found[-1] == ("[DONE]" if is_chat else errors[0])
            return "broken stream"
        assert json.loads(found[-2] if is_chat else found[-1])
        ends = [e for e in found if e == "[DONE]" or '"message_stop"' in e]
        assert len(ends) == 1
        if is_chat:
            assert contents(answer.text) == "".join(f"t{i} " for i in range(tokens))
        else:
            assert sum("content_block_delta" in e for e in found) == tokens
        return "stream"


@pytest.mark.parametrize("seed", [1, 2])
def test_each_request_gets_exactly_one_answer(
    build: Build, engines: list[FakeEngine], seed: int
) -> None:
    house = build(
        *engines,
        model={"max_in_flight": 8},
        defaults={"first_token_timeout": "100ms", "stall_timeout": "100ms"},
    )
    storm = Storm(house, engines, seed)
    asyncio.run(storm.blow())
    outcomes = storm.outcomes
    assert outcomes.total() == N_REQUESTS
    assert outcomes["whole"] + outcomes["stream"] > N_REQUESTS / 2, outcomes
    assert outcomes["left"] > 0
    replicas = house.dispatcher.replicas.values()
    eventually(lambda: sum(replica.in_flight for replica in replicas) == 0)
    assert house.dispatcher.lanes["m"].queued == 0
    assert house.gateway.forwarder._open == set()
    for engine in engines:
        eventually(lambda engine=engine: engine.stats()["in_flight"] == 0)
