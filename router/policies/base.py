"""What a replica policy is: from a snapshot of replicas that could serve to the one that will."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Load(Protocol):
    """What policies may look at. `served` counts the requests that a replica has ended."""

    @property
    def id(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def served(self) -> int: ...


L = TypeVar("L", bound=Load)


class Policy(Protocol):
    """Picks among ready replicas with room; there is at least one. No I/O, no clock."""

    def pick(self, replicas: Sequence[L]) -> L: ...
