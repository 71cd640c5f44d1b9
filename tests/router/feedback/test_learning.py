"""Learning, as the router uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.quality_config import TASKS, LearningConfig, ModelQuality
from router.catalog.profile import profile
from router.feedback.learning import Learning, limits
from router.feedback.signals import outcome, rating
from router.feedback.store import Store

DAY_S = 86_400.0
PROFILES = [
    profile("good", None, ModelQuality(quality=dict.fromkeys(TASKS, 0.7))),
    profile("bad", None, ModelQuality(quality=dict.fromkeys(TASKS, 0.75))),
]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "feedback.db")) as opened:
        yield opened


@pytest.fixture
def learning(store: Store, clock: Clock) -> Learning:
    return Learning(store, PROFILES, LearningConfig(), clock)


def rate(learning: Learning, model: str, said: str, times: int, task: str = "code") -> None:
    for n in range(times):
        request = f"{model}-{task}-{said}-{n}"
        learning.remember(request, task, model)
        learning.record(request, [rating(said)])


def test_before_any_feedback_the_profile_stands(learning: Learning) -> None:
    assert learning.quality("bad") == PROFILES[1].quality
    assert learning.quality("unknown") == {}


def test_ratings_turn_the_order_and_fading_turns_it_back(learning: Learning, clock: Clock) -> None:
    rate(learning, "bad", "down", 40)
    rate(learning, "good", "up", 40)
    assert learning.quality("good")["code"].value > learning.quality("bad")["code"].value
    assert learning.quality("good")["code"].basis == "feedback"
    clock.now = 3 * 365 * DAY_S
    learning.refresh()
    assert learning.quality("good")["code"].value < learning.quality("bad")["code"].value


def test_the_table_shows_what_is_known_and_how_surely(learning: Learning) -> None:
    rate(learning, "good", "up", 30)
    table = [entry for entry in learning.table() if entry.task == "code"]
    assert [(entry.model, round(entry.ratings)) for entry in table] == [("good", 30), ("bad", 0)]
    assert len(learning.table()) == 2 * len(TASKS)
    for entry in learning.table():
        assert 0 <= entry.low < entry.score < entry.high <= 1
    assert table[0].prior == 0.7


def test_a_reset_brings_the_profile_back(learning: Learning) -> None:
    rate(learning, "bad", "down", 20)
    assert learning.reset(model="bad") == 20
    assert learning.quality("bad") == PROFILES[1].quality


def test_another_process_sees_it_after_a_refresh(store: Store, clock: Clock) -> None:
    here, there = (Learning(store, PROFILES, LearningConfig(), clock) for _ in range(2))
    rate(here, "bad", "down", 20)
    assert there.quality("bad") == PROFILES[1].quality
    there.refresh()
    assert there.quality("bad") == here.quality("bad")


def test_several_signals_of_one_request_count_at_once(learning: Learning) -> None:
    learning.remember("one", "code", "good")
    routed = learning.record("one", [rating("up"), outcome("tests_passed")])
    assert routed is not None
    assert (routed.task, routed.model) == ("code", "good")
    (entry,) = [e for e in learning.table() if (e.task, e.model) == ("code", "good")]
    assert entry.ratings == 2
    assert learning.record("one", []) is None


def test_exploration_is_off_by_default_and_repeatable_when_on(store: Store, clock: Clock) -> None:
    off = Learning(store, PROFILES, LearningConfig(), clock)
    assert {off.explore("code", ["good", "bad"]) for _ in range(500)} == {None}
    config = LearningConfig(explore=0.05, seed=3)
    one, other = (Learning(store, PROFILES, config, clock) for _ in range(2))
    picks = [one.explore("code", ["good", "bad"]) for _ in range(500)]
    assert picks == [other.explore("code", ["good", "bad"]) for _ in range(500)]
    assert set(picks) == {None, "good", "bad"}
    assert {one.explore("code", ["unknown"]) for _ in range(500)} == {None}


def test_limits_come_from_the_config() -> None:
    config = LearningConfig.model_validate({"remember": "1h", "decay_per_day": 0.9})
    assert (limits(config).remember_s, limits(config).decay_per_day) == (3600.0, 0.9)
