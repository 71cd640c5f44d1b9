"""A member's call that is given up at the very moment at which its engine is found silent."""

from __future__ import annotations

import asyncio

import pytest

from common.errors import EngineError, EngineTimeoutError
from gateway.ensembles.hearing import Hearing
from gateway.ensembles.inner import Inner
from router.ensembles.ask import Meter
from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open, running
from tests.gateway.house import House, eventually

Speakers = dict[str, FakeSpeaker]
BODY = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True}


async def call(house: House, allowance: int | None = None) -> None:
    inner = Inner(house.gateway.forwarder, "req-1", [])
    await inner.call(house.dispatcher.route("a"), BODY, Hearing(Meter(allowance)))


@pytest.mark.parametrize("flag", ["expired", "overdue"])
def test_it_is_not_tried_again(open_house: Open, speakers: Speakers, flag: str) -> None:
    """Both cancel the same task; the one that gives it up must win."""
    house = open_house(router={"retry": {"max": 5}})
    speakers["a"].behave(mode="hang")

    async def work() -> bool:
        task = asyncio.create_task(call(house))
        while not house.dispatcher.replicas["a-0"].in_flight:
            await asyncio.sleep(0.01)
        (exchange,) = house.gateway.forwarder._open
        setattr(exchange, flag, True)
        exchange.task.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled() and not house.gateway.forwarder._open

    assert house.call(work())
    eventually(lambda: running(speakers) == 0)
    assert speakers["a"].stats()["requests"] == 1


def test_a_silent_engine_is_a_failure(open_house: Open, speakers: Speakers) -> None:
    house = open_house(defaults={"first_token_timeout": "200ms"}, router={"retry": {"max": 0}})
    speakers["a"].behave(mode="hang")
    with pytest.raises(EngineTimeoutError, match="sent no first byte"):
        house.call(call(house))


def test_one_that_says_too_much_is_stopped_and_counts_as_well(
    open_house: Open, speakers: Speakers
) -> None:
    """It may not know the limit's name; its other answers are as good as ever."""
    house = open_house(router={"breaker": {"failures": 1}})
    speakers["a"].say(" ".join(["word"] * 500))
    speakers["a"].pace(token_rate=50)
    with pytest.raises(EngineError, match="more than the 2 tokens"):
        house.call(call(house, allowance=2))
    eventually(lambda: running(speakers) == 0)
    assert speakers["a"].stats()["aborted"] == 1
    assert house.dispatcher.replicas["a-0"].breaker.closed


def test_a_stream_that_breaks_counts_against_its_replica(
    open_house: Open, speakers: Speakers
) -> None:
    house = open_house(router={"breaker": {"failures": 1}})
    speakers["a"].behave(mode="cut_stream", n=2)
    with pytest.raises(EngineError):
        house.call(call(house))
    assert not house.dispatcher.replicas["a-0"].breaker.closed
