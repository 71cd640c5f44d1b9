"""The benchmark of ensembles: what it sends, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from benchmarks import ensembles
from benchmarks.ensembles import WAYS, Way, asked, body, compared
from benchmarks.ensembles_figures import Given, bootstrap, difference, figures, mcnemar
from benchmarks.ensembles_questions import load
from common.errors import EngineError

QUESTIONS = load()[:4]
SINGLE, VOTE = Way("m", 0.0), Way("ensemble:vote:5:m", 0.7)


def given(i: int, *, right: bool, took_s: float = 1.0, escalated: bool = False) -> Given:
    text = QUESTIONS[i].answer if right else "no"
    return Given(QUESTIONS[i], text, "m", took_s, 20, 4, 3, 1, escalated)


def test_a_single_model_is_asked_as_anybody_would_and_an_ensemble_for_its_trace() -> None:
    single, vote = (body(way, QUESTIONS[0], 24) for way in (SINGLE, VOTE))
    assert "routing" not in single
    assert vote["routing"] == {"trace": True}
    assert (single["messages"], single["max_tokens"]) == (vote["messages"], 24)
    assert (single["temperature"], vote["temperature"]) == (0.0, 0.7)


def test_there_is_a_vote_a_cascade_and_each_of_their_models_alone() -> None:
    assert [way.model.partition(":")[0] for way in WAYS if not way.is_single] == [
        "ensemble",
        "cascade",
    ]
    assert {way.model for way in WAYS if way.is_single} == {ensembles.LARGE, ensembles.SMALL}


def test_figures_of_one_way() -> None:
    found = figures("x", [given(0, right=True, took_s=2), given(1, right=False, escalated=True)])
    assert (found.right.passed, found.right.rows) == (1, 2)
    assert found.right.interval == pytest.approx((0.0945, 0.9055), abs=1e-3)  # Wilson's
    assert (found.requests, found.output_tokens, found.wasted_tokens) == (3, 4, 1)
    assert found.escalated.value == 0.5
    assert found.p50_s == 1.5


def test_differences_are_paired() -> None:
    ours = [given(i, right=right) for i, right in enumerate([True, True, True, False])]
    theirs = [given(i, right=right) for i, right in enumerate([True, False, False, True])]
    found = difference("x", ours, "y", theirs)
    assert (found.only_this, found.only_base, found.points) == (2, 1, 25.0)
    assert found.p == 1.0
    assert not found.is_significant
    with pytest.raises(ValueError, match="not the same question"):
        difference("x", ours, "y", theirs[::-1])


def test_mcnemar_is_the_binomial_test_of_the_split() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(10, 0) == mcnemar(0, 10) == pytest.approx(2 / 1024)
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_the_bootstrap_holds_the_mean_and_narrows() -> None:
    low, high = bootstrap([1, 0, 0, -1, 1] * 20)
    assert low < 20 < high
    wide_low, wide_high = bootstrap([1, 0, 0, -1, 1] * 2)
    assert wide_high - wide_low > high - low
    assert bootstrap([0] * 5) == (0.0, 0.0)


def test_ensembles_are_compared_with_the_best_single_model() -> None:
    answers = {
        way.name: [given(0, right=True), given(1, right=way is WAYS[1] or not way.is_single)]
        for way in WAYS
    }
    found = compared(answers)
    assert [line.base for line in found.differences] == [WAYS[1].name] * 2
    assert len(found.figures) == len(WAYS)


def test_it_asks_over_http() -> None:
    asyncio.run(_asks_over_http())


async def _asks_over_http() -> None:
    seen: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(await request.json())
        if len(seen) > 1:
            return web.json_response({"error": {"message": "no"}}, status=502)
        return web.json_response(
            {
                "model": "m",
                "choices": [{"message": {"content": QUESTIONS[0].answer}}],
                "usage": {"prompt_tokens": 50, "completion_tokens": 9},
                "roundhouse": {"requests": 5, "wasted_tokens": 2, "escalations": ["m: doubt"]},
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            found = await asked(http, VOTE, QUESTIONS[0], 24)
            assert found.is_right
            assert (found.requests, found.wasted_tokens, found.escalated) == (5, 2, True)
            assert (found.prompt_tokens, found.output_tokens) == (50, 9)
            with pytest.raises(EngineError, match="add-en-01"):
                await asked(http, VOTE, QUESTIONS[0], 24)
    finally:
        await runner.cleanup()
    assert seen[0]["model"] == VOTE.model


def test_what_is_written_holds_every_answer(tmp_path: Path) -> None:
    answers = {way.name: [given(0, right=True), given(1, right=False)] for way in WAYS}
    out = tmp_path / "sub" / "ensembles.json"
    ensembles.publish(compared(answers), {"max_tokens": 24, "key": "sk-secret"}, out)
    written = json.loads(out.read_text())
    assert written["options"] == {"max_tokens": 24}
    assert [row["name"] for row in written["figures"]] == [way.name for way in WAYS]
    assert all(len(rows) == 2 for rows in written["answers"].values())
    assert written["answers"][WAYS[0].name][0]["question"] == QUESTIONS[0].id
