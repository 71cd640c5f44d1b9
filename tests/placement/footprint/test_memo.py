"""What is remembered of a model is never another's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from placement.footprint.kinds import kinds
from placement.footprint.memo import Memo
from tests.placement.footprint import facts_made_up as made_up


@pytest.fixture
def counter() -> Iterator[int]:
    return iter(range(100))


def test_computes_once_for_each_model_and_key(counter: Iterator[int]) -> None:
    memo: Memo[int] = Memo()
    one, other = made_up.llama_8b(), made_up.llama_8b()
    found = [
        memo.get(facts, key, lambda: next(counter))
        for facts, key in ((one, 1), (one, 1), (one, 2), (other, 1))
    ]
    assert found == [0, 0, 1, 2]


def test_forgets_the_oldest(counter: Iterator[int]) -> None:
    memo: Memo[int] = Memo(size=2)
    facts = made_up.llama_8b()
    found = [memo.get(facts, key, lambda: next(counter)) for key in (1, 2, 3, 3, 1)]
    assert found == [0, 1, 2, 2, 3]


def test_layers_are_told_apart() -> None:
    facts = made_up.windows(10, 52, 16, 128, 1024)
    found = kinds(facts)
    assert len(found.layers) == 2
    assert tuple(found.layers[i] for i in found.of) == facts.layers
