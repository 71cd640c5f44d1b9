"""Some hundred random ensembles over engines of which each fails in three ways, for clients of whom
some hang up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import httpx2 as httpx

from router.ensembles.kinds import KINDS
from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open
from tests.gateway.ensembles.test_hangups import is_free
from tests.gateway.house import CHAT, eventually

Speakers = dict[str, FakeSpeaker]
N_REQUESTS, N_CLIENTS, DEADLINE_S = 400, 16, 3.0
SLACK_S = 20.0  # the machine may be busy with other things; what hangs takes 30 s
SAYINGS = ("It is 17.", "It is 18.", "It is 18, I think.", "", "It is not known.")
CODES = {
    "engine_failed",
    "engine_disconnected",
    "engine_timeout",
    "deadline_exceeded",
    "model_unavailable",
    "engine_overloaded",
    None,  # a request that its budget has nothing for
}


def recipe(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(list(KINDS))
    members = dice.sample("abc", dice.randint(2, 3))
    spec: dict[str, Any] = {"kind": kind, "members": members, "deadline": f"{DEADLINE_S:g}s"}
    if kind == "vote" and dice.random() < 0.5:
        spec |= {"members": members[:1], "samples": dice.randint(2, 6)}
        spec["adaptive"] = dice.random() < 0.5
    elif kind == "vote":
        spec |= {"quorum": dice.randint(1, 2), "on_error": dice.choice(["skip", "fail"])}
    elif kind == "verify":
        spec["members"] = members[:2]
    elif kind == "chain":
        steps = [{"name": name, "model": name, "template": "{question}"} for name in members]
        spec |= {"members": [], "steps": steps}
    if dice.random() < 0.2:
        spec["budget"] = {"tokens": dice.randint(30, 3000)}
    if dice.random() < 0.2 and kind in ("vote", "compare"):
        spec["soft_deadline"] = "200ms"
    return spec


async def client(http: httpx.AsyncClient, dice: random.Random, outcomes: Counter[str]) -> None:
    body = {
        "messages": [{"role": "user", "content": "What is 9 + 9?"}],
        "max_tokens": dice.randint(1, 20),
        "stream": dice.random() < 0.5,
        "routing": {"ensemble": recipe(dice), "trace": dice.random() < 0.5},
    }
    patience_s = dice.choice([0.01, 0.1, 0.3, 60.0, 60.0, 60.0])
    try:
        async with asyncio.timeout(patience_s):
            answer = await http.post(CHAT, json=body)
    except TimeoutError:
        assert patience_s < 60
        outcomes["hung up"] += 1
        return
    outcomes[judge(answer, bool(body["stream"]))] += 1


def judge(answer: httpx.Response, streamed: bool) -> str:
    if answer.status_code != 200:
        assert answer.json()["error"]["code"] in CODES, answer.text
        return "refused"
    if streamed:
        assert answer.text.endswith("data: [DONE]\n\n")
        return "broken" if '"error":{' in answer.text else "stream"
    assert answer.json()["choices"], answer.text
    return "whole"


async def crowd(url: str) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=None)

    async def one(seed: int) -> None:
        dice = random.Random(seed)
        async with httpx.AsyncClient(
            base_url=url, timeout=60, trust_env=False, verify=False, limits=limits
        ) as http:
            for _ in range(N_REQUESTS // N_CLIENTS):
                await client(http, dice, outcomes)

    async with asyncio.timeout(N_REQUESTS / N_CLIENTS * (DEADLINE_S + SLACK_S)):
        await asyncio.gather(*(one(seed) for seed in range(N_CLIENTS)))
    return outcomes


def test_nothing_hangs_and_nothing_is_left(open_house: Open, speakers: Speakers) -> None:
    house = open_house(
        defaults={"first_token_timeout": "250ms", "stall_timeout": "1s"},
        models={"a": {"max_in_flight": 8}},
        router={"retry": {"max": 1}},
    )
    for i, speaker in enumerate(speakers.values()):
        speaker.say(*SAYINGS[i:], *SAYINGS[:i], takes_n=i != 2)
        speaker.behave(mode="flaky", error_rate=0.05, hang_rate=0.05, cut_rate=0.05)
        speaker.pace(token_rate=200)
    outcomes = asyncio.run(crowd(house.url))
    assert outcomes.total() == N_REQUESTS
    assert outcomes["hung up"] > 10, outcomes
    assert outcomes["whole"] > 30, outcomes
    assert outcomes["stream"] > 30, outcomes
    eventually(lambda: is_free(house, speakers))
    assert all(speaker.stats()["played"]["hang"] > 3 for speaker in speakers.values())
