"""What a replica policy is: from a snapshot of replicas that could serve to the one that will."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from router.call import NO_CALL, Call
from router.matches import Matches


class Load(Protocol):
    """What policies may look at. `served` counts the requests that a replica has ended."""

    @property
    def id(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def served(self) -> int: ...
    @property
    def tokens_in_flight(self) -> int: ...
    @property
    def max_in_flight(self) -> int: ...


L = TypeVar("L", bound=Load)


class Policy:
    """Picks among ready replicas with room; there is at least one. No I/O, no clock.

    Whoever is picked gets the request: a policy may count on it. What replicas do besides is told
    by the other methods, of which most policies make nothing. `matches` is there where a policy
    looks at what replicas have of a prompt.
    """

    matches: Matches | None = None

    def pick(self, replicas: Sequence[L], call: Call = NO_CALL) -> L:
        raise NotImplementedError

    def forget(self, replica_id: str) -> None:
        """The replica has restarted, or has gone: its cache is empty."""

    def provision(self, replica_id: str, kv_tokens: int) -> None:
        """The engine has told how many tokens its KV cache holds."""

    def observe(self, replica_id: str, hit_ratio: float) -> None:
        """The share of prompt tokens that the engine found in its cache since the last time."""
