"""The table of published figures holds together."""

from __future__ import annotations

import pytest

from router.catalog.benchmarks import Row, table
from router.catalog.names import read


def test_every_figure_is_of_a_known_benchmark_and_source_and_within_its_points() -> None:
    for name, row in table().models.items():
        assert row.source in table().sources, name
        for benchmark, figure in row.figures.items():
            assert 0 < figure < table().benchmarks[benchmark].points, (name, benchmark)


def test_tasks_and_languages_stand_on_known_benchmarks() -> None:
    lists = [*table().tasks.values(), *table().languages.values()]
    assert {benchmark for each in lists for benchmark in each} <= set(table().benchmarks)


def test_a_score_is_the_mean_of_all_its_benchmarks() -> None:
    row = table().models["Qwen2.5-7B-Instruct"]
    score = table().score(row, ["HumanEval+", "MBPP+"])
    assert score is not None
    assert score.value == pytest.approx((0.7378 + 0.7063) / 2)
    assert (score.basis, score.source) == ("published", "HumanEval+, MBPP+: kanana")


def test_a_part_of_the_benchmarks_gives_no_score() -> None:
    assert table().score(Row("evalplus", {"HumanEval+": 80.0}), ["HumanEval+", "MBPP+"]) is None
    assert table().score(Row("evalplus", {"HumanEval+": 80.0}), []) is None


def test_a_model_is_found_however_it_is_spelt() -> None:
    there = table().models["Llama-3.1-8B-Instruct"]
    assert table().row(read("meta-llama/Meta-Llama-3.1-8B-Instruct")) is there
    assert table().row(read("llama3.1:8b")) is there
    assert table().row(read("meta-llama/Llama-3.3-70B-Instruct")) is None
    assert table().row(read("my-own-thing")) is None
