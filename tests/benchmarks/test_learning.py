"""The learning simulation: repeatable, honest about hindsight, and what the router must reach."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.learning import (
    LEAST,
    PAIRS,
    PLAYERS,
    ROUTED,
    WORLDS,
    Outcome,
    document,
    play,
    published,
    show,
    simulate,
)


@pytest.fixture(scope="module", params=["published", "synthetic"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    return simulate(request.param, pools=6, horizons=(100, 300))


def test_the_router_reaches_its_share_of_the_best_single_model(outcome: Outcome) -> None:
    for player in ROUTED:
        assert outcome.line(player).share >= LEAST
    assert outcome.reached


def test_hindsight_bounds_everybody(outcome: Outcome) -> None:
    oracle = outcome.line("oracle per task (hindsight)").means[300]
    assert all(line.means[300] <= oracle + 1e-9 for line in outcome.lines)
    assert outcome.line("best single (hindsight)").share == pytest.approx(1.0)
    assert outcome.line("random").share < LEAST


def test_a_run_can_be_repeated() -> None:
    for name in WORLDS:
        world, again = (WORLDS[name](Random(5)) for _ in range(2))
        assert world == again
        for make in PLAYERS.values():
            assert play(world, make(world, 1), 1, 60) == play(again, make(again, 1), 1, 60)


def test_what_users_think_is_not_what_was_believed() -> None:
    world = published(Random(1))
    assert len(world.models) == 5
    assert set(world.tasks) == set(PAIRS)
    assert all(before != after for before, after in PAIRS.values())
    assert world.truth != world.believed


def test_the_report_shows_best_single_and_oracle(
    outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    show([outcome])
    shown = capsys.readouterr().out
    assert "best single (hindsight)" in shown
    assert "oracle per task" in shown
    (world,) = document([outcome])["worlds"]
    assert world["reached"] is True
    assert {line["player"] for line in world["lines"]} == set(PLAYERS)
