"""What routing is worth, by published scores."""

from __future__ import annotations

from itertools import product

import pytest

from benchmarks.routing_figures import Answer
from benchmarks.routing_set import Prompt
from benchmarks.routing_worth import worth
from router.catalog.benchmarks import table

TASKS = tuple(table().tasks)


def answer(label: str, found: str) -> Answer:
    return Answer(Prompt("x", (("user", "x"),), "en", label, None, None), found, 1.0)  # type: ignore[arg-type]


def test_when_every_task_is_found_routing_is_the_oracle() -> None:
    found = worth([answer(task, task) for task in TASKS])
    assert found.routed == pytest.approx(found.oracle)
    assert found.any_model < found.best_single <= found.oracle


def test_never_better_than_the_oracle() -> None:
    found = worth([answer(label, said) for label, said in product(TASKS, TASKS)])
    assert found.routed < found.oracle


def test_of_one_task_the_best_single_is_the_oracle() -> None:
    found = worth([answer("code", "code"), answer("code", "general")])
    assert found.best_single == pytest.approx(found.oracle)
    assert found.routed <= found.best_single


def test_translations_are_left_out_and_may_be_found_all_the_same() -> None:
    found = worth([answer("translation", "translation"), answer("code", "translation")])
    assert found.prompts == 1
    assert found.any_model <= found.routed <= found.oracle
