"""Processes that die or freeze under load: what clients see of it, and how long it lasts.

`make test ARGS="tests/real -k kill -s"` prints what docs/reliability.md tells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.real.crowd import Crowd
from tests.real.serving import RunningServer, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.anyio]

VICTIM, OTHER = "smollm2-0", "smollm2-1"
_RECOVERY_TIMEOUT_S = 150
Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def _all_is_well_before_and_after(house: RunningServer) -> Iterator[None]:
    house.wait_ready()
    yield
    house.wait_ready()
    wait_for(lambda: _in_flight(house) == 0, 30, "nothing in flight any more", house.tail)


def _in_flight(house: RunningServer) -> int:
    return sum(row["in_flight"] for row in house.rows().values())


def process_of(house: RunningServer, title: str) -> psutil.Process:
    """The victim's process of that title, or another of this server's."""
    actor = psutil.Process(house.rows()[VICTIM]["pid"])
    candidates = [actor, *actor.children(recursive=True), *house.processes()]
    return next(p for p in candidates if " ".join(p.cmdline()).startswith(title))


def wait_restarted(house: RunningServer, restarts: int) -> float:
    """Seconds until the victim is back, as another process."""

    def is_back() -> bool:
        row = house.rows().get(VICTIM)
        return bool(row and row["restarts"] > restarts and row["state"] == "ready")

    return wait_for(is_back, _RECOVERY_TIMEOUT_S, f"{VICTIM} back", house.tail)


def tell(record: Record, what: str, **outcome: object) -> None:
    for name, value in outcome.items():
        record(name, value)
    told = ", ".join(f"{name} {value}" for name, value in outcome.items())
    print(f"\n| {what:22} | {told} |", flush=True)


def check_requests(crowd: Crowd) -> dict[str, object]:
    """Whoever had no byte yet is answered; whoever had is given the rest by the other replica, or
    is told where that cannot be."""
    broken = [stream for stream in crowd.streams if not stream.whole]
    assert broken, "the blow came too late to hit anybody"
    for stream in broken:
        assert stream.begun, f"a request that had not begun was lost: {stream}"
        assert stream.replica == VICTIM
        assert stream.error_event, f"no error event: {stream}"
        assert not stream.resumable, f"not resumed: {stream}"
    resumed = [stream for stream in crowd.streams if stream.seams]
    assert resumed, "no stream went on at the other replica"
    assert {stream.replica for stream in resumed} == {VICTIM}
    lost = [short for short in crowd.shorts if short.status != 200]
    assert not lost
    return {
        "streams whole": len(crowd.streams) - len(broken),
        "streams with an error event": len(broken),
        "streams resumed": len(resumed),
        "short requests": len(crowd.shorts),
        "retried": sum(short.attempts > 1 for short in crowd.shorts),
        "slowest (s)": round(max(short.seconds for short in crowd.shorts), 1),
    }


async def test_kill_of_serves_controller_goes_unnoticed(
    house: RunningServer, record_property: Record
) -> None:
    before = {name: row["pid"] for name, row in house.rows().items()}
    crowd = Crowd(house)
    await crowd.see(process_of(house, "ray::ServeController").kill, ask_for_s=8)
    assert all(stream.whole for stream in crowd.streams)
    assert {short.status for short in crowd.shorts} == {200}
    assert {name: row["pid"] for name, row in house.rows().items()} == before
    tell(record_property, "kill -9 ServeController", noticed="no")


@pytest.mark.parametrize(
    "title", ["VLLM::Worker", "VLLM::EngineCore", "ray::ServeReplica:model-smollm2-0"]
)
async def test_kill(house: RunningServer, title: str, record_property: Record) -> None:
    restarts = house.rows()[VICTIM]["restarts"]
    crowd = Crowd(house)
    await crowd.see(process_of(house, title).kill, ask_for_s=6)
    seen = check_requests(crowd)
    await asyncio.to_thread(wait_restarted, house, restarts)
    back_after = round(time.monotonic() - crowd.struck_at, 1)
    tell(record_property, f"kill -9 {title}", **seen, **{"back after (s)": back_after})


async def test_kill_freezes_are_found_out(house: RunningServer, record_property: Record) -> None:
    restarts = house.rows()[VICTIM]["restarts"]
    crowd = Crowd(house)
    core = process_of(house, "VLLM::EngineCore")
    await crowd.see(core.suspend, ask_for_s=6)
    seen = check_requests(crowd)
    await asyncio.to_thread(wait_restarted, house, restarts)
    back_after = round(time.monotonic() - crowd.struck_at, 1)
    tell(record_property, "SIGSTOP VLLM::EngineCore", **seen, **{"back after (s)": back_after})
    assert not core.is_running()


async def test_kill_of_the_router(house: RunningServer, record_property: Record) -> None:
    crowd = Crowd(house)
    await crowd.see(process_of(house, "ray::ServeReplica:router").kill)
    broken = [stream for stream in crowd.streams if not stream.whole]
    assert broken
    assert all(stream.exception for stream in broken), "an answer ended as if it were whole"
    chat = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}

    def answers() -> bool:
        return house.rows() != {} and house.post("/v1/chat/completions", chat).status_code == 200

    await asyncio.to_thread(wait_for, answers, _RECOVERY_TIMEOUT_S, "answer", house.tail)
    back_after = round(time.monotonic() - crowd.struck_at, 1)
    errors = sorted({repr(stream.exception)[:100] for stream in broken})
    tell(
        record_property,
        "kill -9 router",
        **{"streams broken": len(broken), "error": errors, "back after (s)": back_after},
    )
    assert {row["restarts"] for row in house.rows().values()} == {0}, "the engines stayed"
