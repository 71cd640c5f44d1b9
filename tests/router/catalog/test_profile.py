"""What a model is believed to be good for, and on what that rests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.quality_config import TASKS, ModelQuality
from router.catalog.names import read
from router.catalog.prior import fit, of_korean, of_task
from router.catalog.profile import Facts, profile

QWEN, CODER = "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-Coder-7B-Instruct"


@pytest.mark.parametrize("name", [QWEN, CODER, "my-own-thing", "Qwen/Qwen3-30B-A3B"])
def test_every_task_has_a_score_with_its_source(name: str) -> None:
    found = profile(name)
    assert set(found.quality) == set(TASKS)
    assert all(score.source for score in found.quality.values())
    assert "ko" in found.languages


def test_published_figures_come_before_a_guess() -> None:
    assert profile(QWEN).quality["math"].basis == "published"
    assert profile(QWEN).quality["math"].value == pytest.approx(0.7522)
    assert profile(QWEN).quality["translation"].basis == "prior"
    assert profile(CODER).quality["general"].basis == "prior"


def test_specialists_are_good_at_their_own_field() -> None:
    coder, chat = profile(CODER).quality, profile(QWEN).quality
    assert coder["code"].value > chat["code"].value
    assert coder["general"].value < chat["general"].value
    reasoner = profile("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B").quality
    assert reasoner["math"].value > chat["math"].value


def test_a_new_version_is_expected_to_do_as_its_series() -> None:
    new = profile("Qwen/Qwen3-Coder-30B-A3B-Instruct").quality["code"]
    assert (new.basis, "as other qwen-coder" in new.source) == ("prior", True)
    assert new.value > profile(QWEN).quality["code"].value


def test_the_config_wins() -> None:
    config = ModelQuality(tasks=("code",), quality={"code": 0.33, "math": 0.44})
    found = profile("qwen", QWEN, config).quality
    assert (found["code"].value, found["code"].basis) == (0.33, "config")
    assert (found["math"].value, found["math"].basis) == (0.44, "config")


def test_a_model_with_tasks_is_preferred_there_and_not_elsewhere() -> None:
    small = profile("m", "Qwen/Qwen2.5-Coder-1.5B-Instruct", ModelQuality(tasks=("code",))).quality
    large = profile("l", "Qwen/Qwen2.5-72B-Instruct").quality
    assert small["code"].value > large["code"].value
    assert (
        small["general"].value
        < profile("m", "Qwen/Qwen2.5-Coder-1.5B-Instruct").quality["general"].value
    )


def test_an_unknown_model_is_said_to_be_unknown() -> None:
    found = profile("mine", "http://127.0.0.1:9/v1")
    assert {score.basis for score in found.quality.values()} == {"unknown"}
    assert found.languages["ko"].basis == "unknown"
    assert (found.size_b, found.modalities, found.tools) == (None, None, None)


def test_facts_fill_what_the_name_does_not_tell() -> None:
    facts = Facts(max_model_len=4096, modalities=frozenset({"text"}), tools=False, size_b=8.0)
    found = profile("mine", None, None, facts)
    assert (found.max_model_len, found.modalities, found.tools) == (4096, {"text"}, False)
    assert found.quality["code"].basis == "prior"
    told = profile("mine", None, ModelQuality(modalities=("image",), tools=True), facts)
    assert (told.modalities, told.tools) == ({"text", "image"}, True)


def test_the_name_that_says_something_counts() -> None:
    assert profile("qwen2.5:7b", "/models/a").family == "qwen 2.5"
    assert profile("fast", QWEN).family == "qwen 2.5"


def test_larger_models_are_expected_to_be_better() -> None:
    sizes = ["0.5B", "1B", "3B", "8B", "14B", "32B", "70B"]
    for task in TASKS:
        values = [of_task(read(f"thing-{size}"), task) for size in sizes]
        plain = [score.value for score in values if score]
        assert len(plain) == len(sizes)
        assert plain == sorted(plain)


def test_models_made_for_korean_are_expected_to_have_it() -> None:
    ours, other = of_korean(read("HyperCLOVAX-8B")), of_korean(read("granite-8B"))
    assert ours is not None
    assert other is not None
    assert ours.value > other.value


def test_embedding_models_have_no_prior() -> None:
    assert of_task(read("Qwen/Qwen3-Embedding-8B"), "general") is None


@given(
    st.floats(-1, 1), st.floats(-0.2, 0.2), st.lists(st.integers(-2, 6), min_size=2, unique=True)
)
def test_a_line_through_points_on_a_line_is_that_line(
    at_1b: float, slope: float, logs: list[int]
) -> None:
    name = read("thing")
    line = fit([(name, 2.0**x, at_1b + slope * x) for x in logs])
    assert line.at_1b == pytest.approx(at_1b, abs=1e-6)
    assert line.per_doubling == pytest.approx(slope, abs=1e-6)
    assert line.at(2.0**20) == line.at(2.0 ** max(logs))
