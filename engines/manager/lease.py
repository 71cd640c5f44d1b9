"""The right to use a loaded model, until it is given back."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from engines.manager.line import Ticket


class Lease:
    """While it lasts the model is busy, and stays. Use as `with await manager.ensure_ready(...):`.

    `waited_s`, and `overtaken`: how many loads began for requests that came later.
    """

    def __init__(
        self, ticket: Ticket, waited_s: float, give_back: Callable[[Ticket], None]
    ) -> None:
        self.model = ticket.model
        self.waited_s = waited_s
        self.overtaken = ticket.overtaken
        self._ticket: Ticket | None = ticket
        self._give_back = give_back

    def release(self) -> None:
        """Nothing happens the second time."""
        ticket, self._ticket = self._ticket, None
        if ticket:
            self._give_back(ticket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
