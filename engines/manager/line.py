"""Who waits for which model. Requests for one model form a group, and are served together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from common.keep_alive import KeepAlive


@dataclass(frozen=True)
class Bounds:
    """No request sees more than `max_swaps` loads begin for requests that came after it.

    Whose turn it is waits at most `max_wait_s` before busy models in the way get no new requests.
    """

    max_swaps: int = 4
    max_wait_s: float = 30.0


@dataclass(slots=True, eq=False)
class Ticket:
    """One waiting request. `order` counts arrivals."""

    model: str
    order: int
    arrived_at_s: float
    keep_alive: KeepAlive | None = None
    overtaken: int = 0  # loads begun for requests that came later
    granted: bool = False


@dataclass(slots=True)
class Group:
    """Never empty. `turn_at_s`: since when no other group that waits for a load is older."""

    tickets: list[Ticket] = field(default_factory=list)
    turn_at_s: float | None = None

    @property
    def model(self) -> str:
        return self.tickets[0].model

    @property
    def order(self) -> int:
        return self.tickets[0].order

    def due_at_s(self, bounds: Bounds) -> float | None:
        """From then on nobody may overtake it; None while it is not its turn."""
        if self.tickets[0].overtaken >= bounds.max_swaps:
            return self.tickets[0].arrived_at_s
        return None if self.turn_at_s is None else self.turn_at_s + bounds.max_wait_s

    def is_due(self, bounds: Bounds, now_s: float) -> bool:
        due_at_s = self.due_at_s(bounds)
        return due_at_s is not None and due_at_s <= now_s


class Line:
    """Groups by model."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._arrivals = count()

    def __iter__(self) -> Iterator[Group]:
        """The oldest request first. The line may change meanwhile."""
        return iter(sorted(self._groups.values(), key=lambda group: group.order))

    def __len__(self) -> int:
        return sum(len(group.tickets) for group in self._groups.values())

    def waiting(self, model: str) -> int:
        return len(self._groups[model].tickets) if model in self._groups else 0

    def join(self, model: str, now_s: float, keep_alive: KeepAlive | None = None) -> Ticket:
        ticket = Ticket(model, next(self._arrivals), now_s, keep_alive)
        self._groups.setdefault(model, Group()).tickets.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Nothing happens if it is gone already."""
        group = self._groups.get(ticket.model)
        if group and ticket in group.tickets:
            group.tickets.remove(ticket)
            if not group.tickets:
                del self._groups[ticket.model]

    def take(self, model: str) -> list[Ticket]:
        """All who wait for it, in order; they are out of the line."""
        group = self._groups.pop(model, None)
        return group.tickets if group else []

    def overtake(self, group: Group, spared: frozenset[str]) -> None:
        """A load begins for the group: all who came before it count that, but for `spared`."""
        for other in self._groups.values():
            if other is group or other.model in spared:
                continue
            for ticket in other.tickets:
                ticket.overtaken += ticket.order < group.order
