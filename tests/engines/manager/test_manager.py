"""The shell, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks import virtual_time
from common.errors import (
    DeadlineError,
    EngineLoadError,
    ModelNotFoundError,
    OutOfMemoryError,
    UnavailableError,
)
from common.keep_alive import KeepAlive, parse
from engines.manager.amounts import Bytes
from engines.manager.cooldown import Cause
from engines.manager.lease import Lease
from engines.manager.line import Bounds
from engines.manager.manager import Manager
from engines.manager.model import ManagedModel
from engines.manager.record import Event
from engines.manager.states import ModelState
from engines.manager.work import Limits
from tests.engines.manager.faulty import FaultyEngines

LOAD_S = 10.0
FOR_EVER = KeepAlive(None)


class Steady(FaultyEngines):
    """Every call takes the same time; loads and wakes can be told to hang."""

    hangs = False

    async def _call(self, verb: str, model: str, takes: Bytes) -> None:
        await super()._call(verb, model, takes)
        await asyncio.sleep(LOAD_S if verb in ("load", "wake") else 1.0)
        if self.hangs and verb in ("load", "wake"):
            await asyncio.Event().wait()


class Box:
    """A manager with room for `room` models of size 1, and what it told."""

    def __init__(self, models: list[ManagedModel], budget: Bytes, **settings: object) -> None:
        self.engines = Steady(models, budget, longest_s=0.0)
        self.events: list[Event] = []
        self.manager = Manager(
            models,
            budget,
            self.engines,
            tell=self.events.append,
            **settings,  # type: ignore[arg-type]
        )

    async def ask(
        self,
        model: str,
        *,
        at_s: float = 0.0,
        for_s: float = 1.0,
        deadline_s: float = 1000.0,
        keep: object = None,
    ) -> Lease:
        await asyncio.sleep(at_s)
        keep_alive = None if keep is None else parse(keep)
        with await self.manager.ensure_ready(model, deadline_s, keep_alive) as lease:
            assert model in self.engines.able
            await asyncio.sleep(for_s)
            assert model in self.engines.able
        return lease

    def path(self, model: str) -> list[str]:
        return [event.after.value for event in self.events if event.model == model]

    def status(self, model: str) -> object:
        return next(s for s in self.manager.status() if s.model == model)

    def state(self, model: str) -> ModelState:
        return next(s.state for s in self.manager.status() if s.model == model)


def models(*names: str, **settings: object) -> list[ManagedModel]:
    return [
        ManagedModel(n, {"gpu:0": 1}, **{"keep_alive": FOR_EVER, **settings})  # type: ignore[arg-type]
        for n in names
    ]


def play(
    story: Callable[[Box], Awaitable[None]],
    of: list[ManagedModel],
    room: int = 1,
    ram: int = 0,
    **settings: object,
) -> Box:
    async def main() -> Box:
        box = Box(of, {"gpu:0": room, "ram": ram}, **settings)
        async with box.manager:
            await story(box)
        return box

    box = virtual_time.run(main())
    assert box.engines.over_commits == []
    assert box.engines.overlaps == []
    return box


def test_a_cold_model_is_loaded_warmed_up_and_then_ready_at_once() -> None:
    async def story(box: Box) -> None:
        first = await box.ask("a")
        second = await box.ask("a")
        assert (first.waited_s, second.waited_s) == (LOAD_S, 0.0)

    box = play(story, models("a"))
    assert box.engines.calls == ["load a", "warm up a"]
    assert box.path("a") == ["loading", "ready"]


def test_requests_are_served_in_groups() -> None:
    async def story(box: Box) -> None:
        await asyncio.gather(*(box.ask(m, at_s=n / 10) for n, m in enumerate("ABABABAB")))

    assert [c for c in play(story, models("A", "B")).engines.calls if "load" in c] == [
        "load A",
        "unload A",
        "load B",
    ]


def test_a_model_that_never_falls_idle_makes_way_after_max_wait() -> None:
    async def story(box: Box) -> None:
        stream = [box.ask("a", at_s=n / 2, for_s=1.0) for n in range(200)]
        waiting = asyncio.ensure_future(box.ask("b", at_s=20.0))
        await asyncio.gather(*stream)
        lease = await waiting
        # 30 s of patience, what is still being answered, an unload and a load.
        assert lease.waited_s == pytest.approx(30.0 + 1.0 + 1.0 + LOAD_S, abs=0.6)

    box = play(story, models("a", "b"), bounds=Bounds(max_wait_s=30.0))
    assert box.path("a")[:4] == ["loading", "ready", "draining", "cold"]


def test_a_pinned_model_never_makes_way() -> None:
    async def story(box: Box) -> None:
        await box.ask("a")
        with pytest.raises(UnavailableError, match="a is pinned there") as caught:
            await box.ask("b")
        assert caught.value.trigger == "out_of_memory"

    pinned = models("a", pinned=True, keep_alive=KeepAlive(0.0))
    assert play(story, pinned + models("b")).path("a") == ["loading", "ready"]


def test_too_large_is_said_at_once() -> None:
    async def story(box: Box) -> None:
        with pytest.raises(UnavailableError, match="in all"):
            await box.ask("a")
        assert asyncio.get_running_loop().time() == 0.0

    assert play(story, models("a"), room=0).engines.calls == []


def test_a_deadline_ends_the_wait_and_leaves_the_load_to_go_on() -> None:
    async def story(box: Box) -> None:
        with pytest.raises(DeadlineError, match="a was not ready within 3 s; it is loading"):
            await box.ask("a", deadline_s=3.0)
        assert asyncio.get_running_loop().time() == 3.0
        assert (await box.ask("a")).waited_s == LOAD_S - 3.0

    play(story, models("a"))


def test_who_hangs_up_does_not_keep_the_model_busy() -> None:
    async def story(box: Box) -> None:
        task = asyncio.ensure_future(box.ask("a"))
        await asyncio.sleep(LOAD_S)
        task.cancel()  # in the very turn in which it is granted
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1.0)
        [status] = box.manager.status()
        assert (status.state, status.in_flight, status.waiting) == (ModelState.READY, 0, 0)

    play(story, models("a"))


@pytest.mark.parametrize(("keep", "stays_s"), [("20s", 20.0), (7, 7.0), (0, 0.0)])
def test_keep_alive_counts_from_the_last_answer(keep: object, stays_s: float) -> None:
    async def story(box: Box) -> None:
        await box.ask("a", keep=keep)
        ended_at_s = asyncio.get_running_loop().time()
        await asyncio.sleep(100.0)
        drained = next(e for e in box.events if e.after is ModelState.DRAINING)
        assert drained.at_s - ended_at_s == pytest.approx(stays_s)
        assert drained.reason == "keep_alive is over"
        assert box.state("a") is ModelState.COLD

    play(story, models("a"))


def test_a_requests_own_keep_alive_counts_before_the_models() -> None:
    async def story(box: Box) -> None:
        await box.ask("a", keep=-1)
        await asyncio.sleep(1e6)
        assert box.state("a") is ModelState.READY
        await box.ask("a")
        await asyncio.sleep(10.0)
        assert box.state("a") is ModelState.COLD

    play(story, models("a", keep_alive=KeepAlive(5.0)))


def test_a_failed_load_cools_down_with_growing_pauses() -> None:
    async def story(box: Box) -> None:
        box.engines.refusal = RuntimeError("CUDA out of memory")
        pauses = []
        for _ in range(3):
            with pytest.raises(OutOfMemoryError, match="out of memory") as caught:
                await box.ask("a")
            pauses.append(caught.value.retry_after_s)
            with pytest.raises(OutOfMemoryError):  # at once, and nobody tries
                await box.ask("a", deadline_s=0.0)
            [status] = box.manager.status()
            assert (status.state, status.cause) == (ModelState.FAILED, Cause.OUT_OF_MEMORY)
            await asyncio.sleep(pauses[-1] or 0)
        assert pauses == [5, 10, 20]
        box.engines.refusal = None
        await box.ask("a")
        assert box.manager.status()[0].cause is None

    box = play(story, models("a"))
    assert box.engines.calls == ["load a", "unload a"] * 3 + ["load a", "warm up a"]


def test_everybody_who_waits_hears_of_the_failure() -> None:
    async def story(box: Box) -> None:
        box.engines.refusal = FileNotFoundError("model.gguf")
        ends = await asyncio.gather(*(box.ask("a") for _ in range(3)), return_exceptions=True)
        assert [type(end) for end in ends] == [EngineLoadError] * 3
        assert "file missing: model.gguf" in str(ends[0])

    play(story, models("a"))


def test_a_load_that_hangs_is_given_up() -> None:
    async def story(box: Box) -> None:
        box.engines.hangs = True
        with pytest.raises(EngineLoadError, match="load took more than 50 s") as caught:
            await box.ask("a")
        assert caught.value.retry_after_s == 5
        assert box.engines.held["a"] == {}

    play(story, models("a"), limits=Limits(load_s=50.0))


def test_a_model_sleeps_where_ram_allows_and_wakes() -> None:
    async def story(box: Box) -> None:
        await box.ask("a")
        await box.ask("b")
        assert box.state("a") is ModelState.SLEEPING
        await box.ask("a")

    box = play(story, models("a", asleep_bytes={1: {"ram": 1}}) + models("b"), ram=1)
    assert "sleep 1 a" in box.engines.calls
    assert "wake a" in box.engines.calls
    assert box.path("a")[2:] == ["draining", "sleeping", "loading", "ready"]
    assert box.engines.calls.count("warm up a") == 1


def test_without_ram_it_is_unloaded() -> None:
    async def story(box: Box) -> None:
        await box.ask("a")
        await box.ask("b")

    box = play(story, models("a", asleep_bytes={1: {"ram": 1}}) + models("b"))
    assert box.path("a")[2:] == ["draining", "cold"]


def test_a_model_that_was_just_asked_for_often_is_not_thrown_out_between_two_requests() -> None:
    async def story(box: Box) -> None:
        often = [box.ask("a", at_s=3.0 * n, for_s=1.0) for n in range(12)]
        lease, *_ = await asyncio.gather(box.ask("b", at_s=20.5), *often)
        assert lease.waited_s > 12 * 3.0 - 20.5 + LOAD_S

    box = play(story, models("a", "b"), bounds=Bounds(max_wait_s=300.0))
    assert box.path("a") == ["loading", "ready", "draining", "cold"]


def test_a_model_that_was_asked_for_once_makes_way_at_once() -> None:
    async def story(box: Box) -> None:
        await box.ask("a")
        lease = await box.ask("b")
        assert lease.waited_s == 1.0 + LOAD_S

    play(story, models("a", "b"))


def test_a_dead_engine_is_cleared_up_and_loaded_again() -> None:
    async def story(box: Box) -> None:
        await box.ask("a")
        box.manager.lost("a", RuntimeError("core died"))
        with pytest.raises(EngineLoadError, match="core died"):
            await box.ask("a")
        await asyncio.sleep(5.0)
        await box.ask("a")

    box = play(story, models("a"))
    assert box.path("a") == ["loading", "ready", "failed", "loading", "ready"]


def test_unload_lets_answers_end() -> None:
    async def story(box: Box) -> None:
        asking = asyncio.ensure_future(box.ask("a", for_s=30.0))
        await asyncio.sleep(LOAD_S + 1)
        box.manager.unload("a")
        later = asyncio.ensure_future(box.ask("a"))
        await asking
        assert asyncio.get_running_loop().time() == LOAD_S + 30.0
        assert (await later).waited_s == 29.0 + 1.0 + LOAD_S

    assert play(story, models("a")).path("a") == [
        "loading", "ready", "draining", "cold", "loading", "ready",
    ]  # fmt: skip


def test_who_waits_for_a_download_is_served_after_it() -> None:
    async def story(box: Box) -> None:
        with pytest.raises(UnavailableError, match="not on this disk"):
            await box.ask("a")
        box.manager.files("a", ModelState.PULLING, "pull")
        waiting = asyncio.ensure_future(box.ask("a"))
        await asyncio.sleep(60.0)
        box.manager.files("a", ModelState.COLD, "pulled")
        assert (await waiting).waited_s == 60.0 + LOAD_S

    play(story, models("a", on_disk=False))


def test_a_download_that_fails_is_told_to_who_waits() -> None:
    async def story(box: Box) -> None:
        box.manager.files("a", ModelState.PULLING, "pull")
        waiting = asyncio.ensure_future(box.ask("a"))
        await asyncio.sleep(1.0)
        box.manager.files("a", ModelState.FAILED, "the disk is full")
        with pytest.raises(UnavailableError, match="the disk is full"):
            await waiting

    play(story, models("a", on_disk=False))


def test_leaving_ends_who_waits() -> None:
    async def main() -> BaseException:
        box = Box(models("a"), {"gpu:0": 1})
        async with box.manager:
            waiting = asyncio.ensure_future(box.ask("a"))
            await asyncio.sleep(1.0)
        [end] = await asyncio.gather(waiting, return_exceptions=True)
        with pytest.raises(UnavailableError):
            await box.ask("a")
        assert isinstance(end, BaseException)
        return end

    assert isinstance(virtual_time.run(main()), UnavailableError)


def test_an_unknown_model_is_named() -> None:
    async def story(box: Box) -> None:
        with pytest.raises(ModelNotFoundError, match="no model 'x'; there are: a"):
            await box.ask("x")

    play(story, models("a"))


def test_two_models_load_side_by_side_where_both_have_room() -> None:
    async def story(box: Box) -> None:
        leases = await asyncio.gather(box.ask("a"), box.ask("b"))
        assert [lease.waited_s for lease in leases] == [LOAD_S, LOAD_S]

    play(story, models("a", "b"), room=2)


def test_a_lease_is_given_back_once() -> None:
    async def story(box: Box) -> None:
        lease = await box.manager.ensure_ready("a", 100.0)
        assert box.manager.status()[0].until_in_s is None
        lease.release()
        lease.release()
        assert box.manager.status()[0].in_flight == 0

    play(story, models("a"))


def test_a_keep_alive_that_ends_while_a_turn_is_taken_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that is read twice may show two times, with that end between them."""

    async def story(box: Box) -> None:
        (await box.manager.ensure_ready("a", 60, KeepAlive(10.0))).release()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + 10
        shown = [ends_at + 1e-6, ends_at - 1e-6]
        monkeypatch.setattr(loop, "time", lambda: shown.pop() if len(shown) > 1 else shown[0])
        box.manager._take_turn()
        monkeypatch.undo()
        await asyncio.sleep(12)
        assert box.state("a") is ModelState.COLD

    play(story, models("a"))
