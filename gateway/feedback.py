"""`/v1/feedback`: what was said of an answer, and how that changes which model `auto` takes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request

from common.config import Config
from common.errors import BadRequestError
from common.instance import state_dir
from router.catalog.profile import Profile
from router.feedback.learning import Learning, limits
from router.feedback.signals import Signal, outcome, rating
from router.feedback.store import Store

if TYPE_CHECKING:
    from gateway.app import Gateway

_FLUSH_PERIOD_S = 2.0
_FLUSHES_A_REFRESH = 30  # other processes' feedback is taken in once a minute


class _Feedback(msgspec.Struct, forbid_unknown_fields=True):
    request_id: str
    rating: Any = None
    outcome: Any = None
    comment: str | None = None


_decoder = msgspec.json.Decoder(_Feedback)


def open_learning(config: Config, profiles: dict[str, Profile]) -> Learning | None:
    """None when the config wants none. Opens a file, and makes it where there is none."""
    wanted = config.router.learning
    if not wanted.enabled:
        return None
    store = Store(store_path(config), limits(wanted))
    return Learning(store, profiles.values(), wanted)


def store_path(config: Config) -> Path:
    return state_dir() / f"feedback-{config.server.port}.db"


async def keep_learning(learning: Learning) -> None:
    """Writes down which requests may be rated, off the event loop, for as long as it runs."""
    count = 0
    while True:
        await asyncio.sleep(_FLUSH_PERIOD_S)
        await asyncio.to_thread(learning.flush)
        count += 1
        if count % _FLUSHES_A_REFRESH == 0:
            await asyncio.to_thread(learning.refresh)


def feedback_router(gateway: Gateway) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/feedback")
    async def tell(request: Request) -> dict[str, Any]:
        """A rating or a checked outcome of a request that `auto` routed."""
        said = _read(await request.body())
        learning = _learning(gateway)
        routed = await asyncio.to_thread(learning.record, said.request_id, _signals(said))
        return {"request_id": said.request_id, **(asdict(routed) if routed else {})}

    @router.get("/admin/feedback")
    async def table() -> dict[str, Any]:
        return {"scores": [asdict(entry) for entry in _learning(gateway).table()]}

    @router.delete("/admin/feedback")
    async def reset(model: str | None = None, task: str | None = None) -> dict[str, int]:
        learning = _learning(gateway)
        gone = await asyncio.to_thread(learning.reset, model=model, task=task)
        return {"forgotten": gone}

    return router


def _read(body: bytes) -> _Feedback:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequestError(f"feedback: {error}") from None


def _signals(said: _Feedback) -> list[Signal]:
    signals = [rating(said.rating)] if said.rating is not None else []
    signals += [outcome(said.outcome)] if said.outcome is not None else []
    if not signals:
        raise BadRequestError("feedback needs a rating or an outcome", param="rating")
    return signals


def _learning(gateway: Gateway) -> Learning:
    if gateway.learning is None:
        raise BadRequestError("feedback is off (router.learning.enabled)")
    return gateway.learning
