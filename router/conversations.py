"""Conversations stay on their model, where their prefix is cached. Bounded in size and age.

Time is passed in. Belongs to the router's event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b

from router.choice import Verdict


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a conversation sits, and the task that brought it there."""

    model: str
    task: str
    at: float


@dataclass(frozen=True, slots=True)
class Marks:
    """What of a request may name its conversation. `opening`: its first messages as they came."""

    tenant: str = ""
    session: str | None = None
    prompt_cache_key: str | None = None
    user: str | None = None
    opening: bytes = b""


def key(marks: Marks) -> bytes | None:
    """The strongest mark, within a tenant; None when there is none.

    A session is one conversation (`X-Claude-Code-Session-Id` or a session header). A user may have
    several at once, told apart by their opening.
    """
    if marks.session:
        parts = ["session", marks.session]
    elif marks.prompt_cache_key:
        parts = ["prompt_cache_key", marks.prompt_cache_key]
    elif marks.user or marks.opening:
        parts = ["user", marks.user or ""]
    else:
        return None
    digest = blake2b("\0".join([marks.tenant, *parts]).encode(), digest_size=16)
    if parts[0] == "user":
        digest.update(b"\0" + marks.opening)
    return digest.digest()


class Conversations:
    """The latest `most` conversations, each until `stay_s` after its last request."""

    def __init__(self, most: int, stay_s: float, switch_confidence: float) -> None:
        self._most = most
        self._stay_s = stay_s
        self._switch_confidence = switch_confidence
        self._seats: OrderedDict[bytes, Seat] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, of: bytes | None, now: float) -> Seat | None:
        found = self._seats.get(of) if of else None
        if of is None or found is None:
            return None
        if now - found.at > self._stay_s:
            del self._seats[of]
            return None
        return found

    def stays(self, seat: Seat, verdict: Verdict) -> bool:
        """Unless the verdict is sure of another task. "Commit it" is no sure sign of one."""
        return verdict.task == seat.task or verdict.confidence < self._switch_confidence

    def keep(self, of: bytes | None, model: str, verdict: Verdict, now: float) -> None:
        """Notes who answers. While the conversation stays, the task that began it stands."""
        if of is None:
            return
        before = self.seat(of, now)
        if before and before.model == model and self.stays(before, verdict):
            self._seats[of] = replace(before, at=now)
        else:
            self._seats[of] = Seat(model, verdict.task, now)
        self._seats.move_to_end(of)
        while len(self._seats) > self._most:
            self._seats.popitem(last=False)

    def forget(self, model: str) -> None:
        """Its cache is gone, for it was unloaded."""
        for each in [of for of, seat in self._seats.items() if seat.model == model]:
            del self._seats[each]
