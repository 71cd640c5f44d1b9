"""What `ps` and the API tell of a model's life."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from engines.manager.amounts import Bytes
from engines.manager.cooldown import Cause
from engines.manager.record import Record
from engines.manager.states import ModelState


@dataclass(frozen=True)
class Status:
    """`until_in_s`: seconds until it is unloaded if nobody asks for it; None while it is in use
    or not loaded; infinite where it stays. `cause`, `error` and `retry_in_s` are of the last
    failure, until a load works.
    """

    model: str
    state: ModelState
    held: Bytes
    in_flight: int
    waiting: int
    until_in_s: float | None
    cause: Cause | None = None
    error: str | None = None
    retry_in_s: float = 0.0


def status_of(record: Record, waiting: int, now_s: float) -> Status:
    loaded = record.state in (ModelState.READY, ModelState.SLEEPING)
    idle = loaded and not record.in_flight
    cooldown = record.cooldown
    return Status(
        model=record.model.name,
        state=record.state,
        held=dict(record.held),
        in_flight=record.in_flight,
        waiting=waiting,
        until_in_s=_until_in_s(record, now_s) if idle else None,
        cause=cooldown.cause if cooldown else None,
        error=cooldown.message if cooldown else None,
        retry_in_s=max(0.0, cooldown.until_s - now_s) if cooldown else 0.0,
    )


def _until_in_s(record: Record, now_s: float) -> float:
    return inf if record.model.pinned else max(0.0, record.until_s - now_s)
