"""Ollama's own API, against the fake; the fake against Ollama's own client where it is there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import aiohttp
import pytest

from common.errors import EngineConnectError, EngineError, ModelFetchError
from common.keep_alive import KeepAlive, parse
from engines.ollama.client import Ollama
from tests.fakes.engine import JsonObject
from tests.fakes.running import FakeEngine
from tests.fakes.running_ollama import FakeOllama

T = TypeVar("T")


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    with FakeOllama("llama3.2", "nomic-embed-text") as running:
        yield running


def with_client(url: str, work: Callable[[Ollama], Awaitable[T]]) -> T:
    async def run() -> T:
        async with aiohttp.ClientSession() as session:
            return await work(Ollama(session, url))

    return asyncio.run(run())


def test_what_there_is(server: FakeOllama) -> None:
    assert with_client(server.url, lambda ollama: ollama.version()) == "0.12.6"
    models = with_client(server.url, lambda ollama: ollama.models())
    assert [each.name for each in models] == ["llama3.2:latest", "nomic-embed-text:latest"]
    shown = with_client(server.url, lambda ollama: ollama.show("llama3.2"))
    assert shown is not None
    assert shown.tools is True
    assert with_client(server.url, lambda ollama: ollama.show("nobody")) is None


def test_load_and_unload(server: FakeOllama) -> None:
    async def work(ollama: Ollama) -> list[Any]:
        await ollama.load("llama3.2", parse("10m"))
        await ollama.load("nomic-embed-text", KeepAlive(None), embeds_only=True)
        loaded = await ollama.running()
        await ollama.unload("llama3.2")
        await ollama.unload("nomic-embed-text")
        return [loaded, await ollama.running(), await ollama.models()]

    loaded, after, models = with_client(server.url, work)
    assert {each.name: each.until == math.inf for each in loaded} == {
        "llama3.2:latest": False,
        "nomic-embed-text:latest": True,
    }
    assert all(each.vram_bytes == 2_000_000_000 for each in loaded)
    assert after == []
    assert len(models) == 2
    stats = server.stats()
    assert stats["deleted"] == []
    assert "/api/delete" not in stats["calls"]


def test_a_load_keeps_the_servers_own_time_where_none_is_given(server: FakeOllama) -> None:
    with_client(server.url, lambda ollama: ollama.load("llama3.2"))
    assert server.loaded() == {"llama3.2:latest": 300}


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_model_that_is_missing(server: FakeOllama, verb: str) -> None:
    with pytest.raises(EngineError, match="`ollama pull nobody` fetches it"):
        with_client(server.url, lambda ollama: getattr(ollama, verb)("nobody"))


def test_a_refusal_is_told_in_the_servers_words(server: FakeOllama) -> None:
    with pytest.raises(EngineError, match='HTTP 400: "nomic-embed-text" does not support generate'):
        with_client(server.url, lambda ollama: ollama.load("nomic-embed-text"))


def test_nobody_there() -> None:
    with pytest.raises(EngineConnectError, match=r"http://127\.0\.0\.1:1/api/tags: Client"):
        with_client("http://127.0.0.1:1", lambda ollama: ollama.models())


def test_another_program_there() -> None:
    with FakeEngine() as engine:
        engine.behave(mode="status", status=200, body=[1], path="/v1/models")
        with pytest.raises(EngineError):
            with_client(engine.url, lambda ollama: ollama.unload("m"))


@pytest.mark.parametrize(
    "answer", [{"models": [{}]}, {"models": [7]}, {"models": 7}, {"models": {"a": 1}}]
)
def test_an_answer_that_is_odd(answer: JsonObject) -> None:
    async def work() -> None:
        async with aiohttp.ClientSession() as session:
            ollama = Ollama(session, "http://127.0.0.1:1")

            async def ask(*_: object) -> JsonObject:
                return answer

            ollama._ask = ask  # type: ignore[method-assign,assignment]
            await ollama.models()

    with pytest.raises(EngineError, match="answers as no Ollama would"):
        asyncio.run(work())


async def _all(steps: Any) -> list[str]:
    return [step async for step in steps]


def test_a_pull(server: FakeOllama) -> None:
    server.set(pullable=["qwen3:8b"])
    steps = with_client(server.url, lambda ollama: _all(ollama.pull("qwen3:8b")))
    assert steps[0] == "pulling qwen3:8b: pulling manifest"
    assert "pulling qwen3:8b: 50 % of 1.9 GiB" in steps
    assert steps[-1] == "pulling qwen3:8b: success"
    assert "qwen3:8b" in server.stats()["models"]


@pytest.mark.parametrize(
    ("controls", "told"),
    [
        ({}, "could not pull qwen3:8b: pull model manifest: file does not exist"),
        ({"pullable": ["qwen3:8b"], "fail_pull": "disk full"}, "qwen3:8b: disk full"),
    ],
)
def test_a_pull_that_fails(server: FakeOllama, controls: dict[str, Any], told: str) -> None:
    server.set(**controls)
    with pytest.raises(ModelFetchError, match=told):
        with_client(server.url, lambda ollama: _all(ollama.pull("qwen3:8b")))
    assert "qwen3:8b" not in server.stats()["models"]
