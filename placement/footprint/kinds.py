"""A model's layers without repetition: most models have one to three kinds of them."""

from __future__ import annotations

from dataclasses import dataclass

from placement.footprint.memo import Memo
from placement.models.facts import Layer, ModelFacts


@dataclass(frozen=True)
class Kinds:
    """`of` tells by layer number which of `layers` it is. They are in order of appearance."""

    layers: tuple[Layer, ...]
    of: tuple[int, ...]


_kinds: Memo[Kinds] = Memo(256)


def kinds(facts: ModelFacts) -> Kinds:
    return _kinds.get(facts, None, lambda: _told_apart(facts))


def _told_apart(facts: ModelFacts) -> Kinds:
    numbers: dict[Layer, int] = {}
    of = tuple(numbers.setdefault(layer, len(numbers)) for layer in facts.layers)
    return Kinds(tuple(numbers), of)
