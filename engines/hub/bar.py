"""What the hub's library takes for a progress bar; it only counts, and stops when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

from common.errors import ModelFetchError


class Bar:
    """Made by the library, one a file. A subclass of its own says where the bytes are counted."""

    count: ClassVar[Callable[[int], None]]
    stopping: ClassVar[threading.Event]

    def __init__(self, *args: Any, **options: Any) -> None:
        """Total and description are known already."""

    def update(self, n: float | None = 1) -> None:
        if self.stopping.is_set():
            raise ModelFetchError("stopped; what has been fetched is kept")
        type(self).count(int(n or 0))

    def update_transfer(self, n: float | None = 1) -> None:
        """The same bytes as they come over the wire."""

    def set_postfix_str(self, *args: Any, **options: Any) -> None: ...

    set_transfer_postfix_str = set_description_str = set_postfix_str

    def refresh(self) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def counting(count: Callable[[int], None], stopping: threading.Event) -> type[Bar]:
    return type("CountingBar", (Bar,), {"count": staticmethod(count), "stopping": stopping})
