"""Remembers what was computed of a model: a plan asks the same of it many times over.

ModelFacts are found by identity, since their fields are too many to hash each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from placement.models.facts import ModelFacts

T = TypeVar("T")


class Memo(Generic[T]):
    """The latest `size` results. A kept model cannot be taken for a later one at its address."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._found: OrderedDict[Hashable, tuple[ModelFacts, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, facts: ModelFacts, key: Hashable, compute: Callable[[], T]) -> T:
        full_key = (id(facts), key)
        with self._lock:
            kept = self._found.get(full_key)
        if kept is not None:
            return kept[1]
        value = compute()
        with self._lock:
            self._found[full_key] = (facts, value)
            while len(self._found) > self._size:
                self._found.popitem(last=False)
        return value
