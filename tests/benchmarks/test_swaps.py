"""The simulation of swaps: what the manager must reach, and that the figures are its own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import swaps, virtual_time
from benchmarks.swaps import Settings, compare, main, targets, trace

SETTINGS = Settings()


def test_at_most_half_the_swaps_and_nobody_waits_too_long() -> None:
    pairs = compare(SETTINGS, range(10))
    assert targets(SETTINGS, pairs) == dict.fromkeys(targets(SETTINGS, pairs), True)


def test_a_missed_target_is_told() -> None:
    strict = replace(SETTINGS, load_s=0.5, gap_s=20.0)
    reached = targets(strict, compare(strict, range(2)))
    assert reached["at most 0.5 of the swaps"] is False
    assert reached["every request answered"] is True


def test_first_in_first_out_is_what_it_says() -> None:
    """A trace whose swaps and waits can be counted by hand: A B A on a box with room for one."""
    settings = Settings(
        requests=3, models=2, room=1, gap_s=0.0, service_s=2.0, load_s=10.0, unload_s=1.0
    )
    seed = next(n for n in range(99) if [r.model[-1] for r in trace(settings, n)] == list("010"))
    fifo = virtual_time.run(swaps.first_in_first_out(settings, seed))
    grouped = virtual_time.run(swaps.in_groups(settings, seed))
    first, second, _ = trace(settings, seed)
    assert (fifo.swaps, grouped.swaps) == (3, 2)
    assert fifo.longest_wait_s == pytest.approx(32 + first.service_s + second.service_s)
    assert fifo.peak == grouped.peak == 1


def test_the_same_seed_gives_the_same_figures() -> None:
    assert compare(SETTINGS, [3]) == compare(SETTINGS, [3])
    assert trace(SETTINGS, 3) != trace(SETTINGS, 4)


def test_the_command_tells_that_it_is_a_simulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "swaps.json"
    assert main(["--traces", "1", "--requests", "50", "--out", str(out)]) == 0
    assert "Simulated, no engine was run." in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert "SIMULATION" in written["about"]
    assert written["traces"][0]["grouped"]["answered"] == 50


def test_strict_makes_a_missed_target_an_error() -> None:
    slow = ["--traces", "1", "--gap-s", "20", "--load-s", "0.5"]
    assert (main(slow), main([*slow, "--strict"])) == (0, 1)


def test_virtual_time_passes_at_once_and_tells_a_deadlock() -> None:
    async def sleeps() -> float:
        await asyncio.sleep(86_400 * 30)
        return asyncio.get_running_loop().time()

    async def hangs() -> None:
        await asyncio.Event().wait()

    assert virtual_time.run(sleeps()) == pytest.approx(86_400 * 30)
    with pytest.raises(virtual_time.DeadlockError):
        virtual_time.run(hangs())
