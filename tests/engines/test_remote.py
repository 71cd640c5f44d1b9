"""Looking after endpoints that somebody else runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import aiohttp
import pytest

from engines import remote
from engines.base import EngineStatus, State
from engines.endpoint import Endpoint
from engines.remote import Remote, watch_remote
from tests.fakes.cloud import KEY
from tests.fakes.clouds import FakeCloud
from tests.fakes.running import FakeEngine

Told = tuple[str, State, str, str | None]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PERIOD_S", 0.01)


class Watch:
    """Runs the watch, and notes every report that differs from the one before."""

    def __init__(self, url: str) -> None:
        self.remote = Remote("m-0", "m", url)
        self.told: list[Told] = []

    def report(self, replica: str, status: EngineStatus | None) -> None:
        assert status is not None
        told = (replica, status.state, status.phase, status.url)
        if told not in self.told[-1:]:
            self.told.append(told)

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession()
        self.task = asyncio.create_task(watch_remote(self.remote, self.session, self.report))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await self.session.close()

    async def next(self) -> Told:
        seen = len(self.told)
        async with asyncio.timeout(20):
            while len(self.told) == seen:
                await asyncio.sleep(0.005)
        return self.told[-1]


def test_it_is_ready_while_it_answers(engine: FakeEngine) -> None:
    url = engine.url

    async def work() -> list[Told]:
        async with Watch(url) as watch:
            await watch.next()
            engine.behave(mode="status", status=503, path="/v1/models")
            await watch.next()
            engine.behave(mode="ok", path="/v1/models")
            await watch.next()
            engine.kill()
            await watch.next()
            return watch.told

    up, failing, again, gone = asyncio.run(work())
    assert up == ("m-0", State.READY, "", url)
    assert failing == ("m-0", State.STARTING, f"no answer from {url}: HTTP 503", url)
    assert again == up
    assert gone[1] is State.STARTING
    assert gone[2].startswith(f"no answer from {url}: Client")


def test_one_that_hangs_is_not_ready(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_TIMEOUT_S", 0.1)
    engine.behave(mode="hang", path="/v1/models")

    async def work() -> Told:
        async with Watch(engine.url) as watch:
            return await watch.next()

    assert asyncio.run(work()) == (
        "m-0",
        State.STARTING,
        f"no answer from {engine.url}: TimeoutError",
        engine.url,
    )


@pytest.mark.parametrize("status", [401, 404])
def test_one_that_wants_a_key_or_has_no_list_is_up(engine: FakeEngine, status: int) -> None:
    engine.behave(mode="status", status=status, path="/v1/models")

    async def work() -> Told:
        async with Watch(engine.url) as watch:
            return await watch.next()

    assert asyncio.run(work())[1] is State.READY


def test_a_url_that_cannot_be_asked_does_not_end_the_watch() -> None:
    async def work() -> Told:
        async with Watch("http://127.0.0.1:99999") as watch:
            told = await watch.next()
            await asyncio.sleep(0.05)
            assert not watch.task.done()
            return told

    assert asyncio.run(work())[1] is State.STARTING


# With a key


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    monkeypatch.setattr(remote, "_KEYED_PERIOD_S", 0.01)
    with FakeCloud("anthropic") as running:
        yield running


def first_look(url: str, endpoint: Endpoint) -> Told:
    async def work() -> Told:
        async with Watch(url) as watch:
            watch.task.cancel()
            watch.remote = replace(watch.remote, endpoint=endpoint)
            watch.task = asyncio.create_task(
                watch_remote(watch.remote, watch.session, watch.report)
            )
            while not watch.told:
                await asyncio.sleep(0.005)
            return watch.told[-1]

    return asyncio.run(work())


def test_the_key_is_shown_to_the_endpoint(cloud: FakeCloud) -> None:
    endpoint = Endpoint("anthropic", key=KEY, key_place="THE_KEY")
    assert first_look(cloud.url, endpoint) == ("m-0", State.READY, "", cloud.url)
    assert cloud.seen()[-1]["path"] == "/v1/models"


def test_a_key_that_is_refused_is_told(cloud: FakeCloud) -> None:
    endpoint = Endpoint("anthropic", key="sk-wrong-one", key_place="THE_KEY")
    assert first_look(cloud.url, endpoint)[1:3] == (State.READY, "refuses our key of THE_KEY")


def test_one_that_must_not_be_asked_is_taken_to_be_up(cloud: FakeCloud) -> None:
    endpoint = Endpoint("anthropic", key=KEY, watched=False)
    assert first_look(cloud.url, endpoint)[1] is State.READY
    assert cloud.seen() == []
