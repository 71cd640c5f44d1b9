"""What becomes of a job."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import virtual_time
from engines.manager.books import Job, Verb
from engines.manager.work import Limits, Outcome, perform


class Scripted:
    """Calls whose name is in `broken` raise, those in `hanging` never return."""

    def __init__(self, *broken: str, hanging: str = "") -> None:
        self.broken = broken
        self.hanging = hanging
        self.calls: list[str] = []

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise RuntimeError(f"{name} is broken")
        if name == self.hanging:
            await asyncio.Event().wait()

    async def load(self, model: str) -> None:
        await self._call("load")

    async def wake(self, model: str) -> None:
        await self._call("wake")

    async def sleep(self, model: str, level: int) -> None:
        await self._call("sleep")

    async def unload(self, model: str) -> None:
        await self._call("unload")

    async def warm_up(self, model: str) -> None:
        await self._call("warm_up")


def outcome(engines: Scripted, verb: Verb) -> Outcome:
    return virtual_time.run(perform(engines, Job(verb, "m"), Limits(10.0, 5.0, 1.0)))


@pytest.mark.parametrize(
    ("verb", "calls"),
    [
        (Verb.LOAD, ["load", "warm_up"]),
        (Verb.WAKE, ["wake"]),
        (Verb.SLEEP, ["sleep"]),
        (Verb.UNLOAD, ["unload"]),
    ],
)
def test_a_job_is_its_call(verb: Verb, calls: list[str]) -> None:
    engines = Scripted()
    assert outcome(engines, verb) == Outcome(Job(verb, "m"))
    assert engines.calls == calls


@pytest.mark.parametrize("verb", [Verb.LOAD, Verb.WAKE])
def test_what_is_left_of_a_failed_start_is_unloaded(verb: Verb) -> None:
    engines = Scripted(verb.value)
    ended = outcome(engines, verb)
    assert (str(ended.error), ended.is_gone) == (f"{verb} is broken", True)
    assert engines.calls == [verb.value, "unload"]


def test_without_that_unload_its_bytes_are_not_gone() -> None:
    ended = outcome(Scripted("load", "unload"), Verb.LOAD)
    assert (str(ended.error), ended.is_gone) == ("load is broken", False)


def test_a_sleep_that_fails_becomes_an_unload() -> None:
    assert outcome(Scripted("sleep"), Verb.SLEEP) == Outcome(Job(Verb.UNLOAD, "m"))


def test_a_failed_unload_is_not_repeated_at_once() -> None:
    engines = Scripted("unload")
    ended = outcome(engines, Verb.UNLOAD)
    assert (ended.error is None, ended.is_gone) == (False, False)
    assert engines.calls == ["unload"]


@pytest.mark.parametrize("engines", [Scripted("warm_up"), Scripted(hanging="warm_up")])
def test_a_failed_warm_up_does_not_fail_the_load(engines: Scripted) -> None:
    assert outcome(engines, Verb.LOAD) == Outcome(Job(Verb.LOAD, "m"))


@pytest.mark.parametrize(("verb", "limit"), [(Verb.WAKE, "10 s"), (Verb.UNLOAD, "5 s")])
def test_a_call_that_hangs_is_given_up(verb: Verb, limit: str) -> None:
    ended = outcome(Scripted(hanging=verb.value), verb)
    assert str(ended.error) == f"{verb} took more than {limit}"
