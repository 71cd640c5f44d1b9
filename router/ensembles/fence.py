"""Marks what models and clients wrote as data, so that nothing in it reads as an instruction."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

_MARK_BITS = 48


class Fence:
    """A mark that occurs in none of the texts, so that no text can end its own block."""

    def __init__(self, texts: Iterable[str], random: Random) -> None:
        self._texts = tuple(texts)
        self.mark = self._new(random)
        while any(self.mark in text for text in self._texts):
            self.mark = self._new(random)

    def around(self, name: str, text: str) -> str:
        """`text` is one of those that the mark was made for, or made from one by cutting."""
        return f"<{name} {self.mark}>\n{text}\n</{name} {self.mark}>"

    @staticmethod
    def _new(random: Random) -> str:
        return f"{random.getrandbits(_MARK_BITS):012x}"
