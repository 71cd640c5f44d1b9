"""`/admin/models`: which models are loaded, what they take, and the wish to load or unload one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from common.config import Config
from common.errors import BadRequestError
from common.keep_alive import KeepAlive, KeepAliveValue
from engines import registry
from engines.base import State
from engines.manager.amounts import Bytes
from engines.manager.states import ModelState
from engines.manager.status import Status
from engines.measured import measured
from engines.ollama.client import Ollama
from engines.ollama.served import Served, served
from router.replicas import Lane

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.keeper import Keeper

_AT_ONCE_S = 0.1  # in which what cannot be is told
_LOOK_PERIOD_S = 0.05
_LEAVING = frozenset({ModelState.READY, ModelState.SLEEPING, ModelState.DRAINING})
_GOING = frozenset({ModelState.LOADING, ModelState.PULLING})


class Wish(BaseModel):
    """`wait`: answer when it is done, not when it has begun."""

    model_config = ConfigDict(extra="forbid")

    wait: bool = False
    keep_alive: KeepAliveValue | None = None


def lives_router(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/admin/models")
    lives = Lives(gateway)

    @router.get("")
    async def models() -> dict[str, Any]:
        return {"models": [await lives.row(name) for name in gateway.dispatcher.lanes]}

    @router.get("/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return await lives.row(lives.lane(name).model)

    @router.post("/{name:path}/load")
    async def load(name: str, wish: Wish | None = None) -> JSONResponse:
        wish = wish or Wish()
        return await lives.answer(name, await lives.load(name, wish.keep_alive, wait=wish.wait))

    @router.post("/{name:path}/unload")
    async def unload(name: str, wish: Wish | None = None) -> JSONResponse:
        return await lives.answer(name, await lives.unload(name, wait=bool(wish and wish.wait)))

    return router


class Lives:
    """What is known of each model's life, whoever runs it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @property
    def _config(self) -> Config:
        return self._gateway.config

    @property
    def _ollama(self) -> Mapping[str, Served]:
        return {each.model: each for each in served(self._config, os.environ)}

    def lane(self, name: str) -> Lane:
        """Raises ModelNotFoundError, with near names."""
        return self._gateway.dispatcher.route(name).lane

    async def answer(self, name: str, done: bool) -> JSONResponse:
        return JSONResponse(await self.row(self.lane(name).model), 200 if done else 202)

    async def load(self, name: str, keep_alive: KeepAlive | None, *, wait: bool) -> bool:
        """True when it is loaded. Raises why it cannot be, as far as that is known by then."""
        model = self.lane(name).model
        if model in self._ollama:
            await self._load_in_ollama(self._ollama[model], keep_alive)
            return True
        load = self._keeper_of(model).load(model, keep_alive)
        await asyncio.wait({load}, timeout=None if wait else _AT_ONCE_S)
        if load.done():
            load.result()
        return load.done()

    async def unload(self, name: str, *, wait: bool) -> bool:
        """True when it is gone."""
        model = self.lane(name).model
        if model in self._ollama:
            await self._server(self._ollama[model]).unload(self._ollama[model].name)
            return True
        keeper = self._keeper_of(model)
        if (state := keeper.statuses()[model].state) in _GOING:
            raise BadRequestError(f"{model} is {state}; unload it when that is over")
        keeper.manager.unload(model)
        while keeper.statuses()[model].state in _LEAVING:
            if not wait:
                return False
            await asyncio.sleep(_LOOK_PERIOD_S)
        return True

    async def row(self, model: str) -> dict[str, Any]:
        keeper = self._gateway.keeper
        status = keeper.statuses().get(model) if keeper else None
        lane = self._gateway.dispatcher.lanes[model]
        told = _of_status(status, keeper) if status and keeper else _of_lane(lane)
        entry = self._config.models[model]
        return {
            "id": model,
            "engine": self._config.engine_of(model),
            **told,
            "pinned": entry.pinned,
            "load": entry.load if status else None,
            "gpu_ids": sorted({gpu for replica in lane.replicas for gpu in replica.gpu_ids}),
            "real_bytes": await self._real_bytes(lane),
            "in_flight": sum(replica.in_flight for replica in lane.replicas),
            "replicas": [replica.id for replica in lane.replicas],
        }

    async def _real_bytes(self, lane: Lane) -> Bytes | None:
        if self._config.engine_of(lane.model) not in registry.OWNED:
            known = [r.vram_bytes for r in lane.replicas if r.vram_bytes is not None]
            return {"gpu": sum(known)} if known else None
        pids = [r.pid for r in lane.replicas if r.pid and r.state is State.READY]
        on_gpus = any(replica.gpu_ids for replica in lane.replicas)
        return await asyncio.to_thread(measured, pids, on_gpus=on_gpus) if pids else None

    def _keeper_of(self, model: str) -> Keeper:
        """Raises BadRequestError for a model that is not loaded here."""
        keeper = self._gateway.keeper
        if keeper and model in keeper.statuses():
            return keeper
        engine = self._config.engine_of(model)
        why = "`serve run` keeps all models loaded; use `roundhouse serve`"
        if engine not in registry.OWNED:
            why = f"engine {engine} is remote, and its models are not loaded here"
        raise BadRequestError(f"{model} can be neither loaded nor unloaded: {why}")

    async def _load_in_ollama(self, model: Served, keep_alive: KeepAlive | None) -> None:
        server = self._server(model)
        shown = await server.show(model.name)
        embeds_only = shown is not None and shown.embeds_only
        await server.load(model.name, keep_alive or model.keep_alive, embeds_only=embeds_only)

    def _server(self, model: Served) -> Ollama:
        return Ollama(self._gateway.session, model.url)


def until(status: Status) -> float | str | None:
    """Seconds since 1970, or "forever"; None while it is in use, or not loaded."""
    if status.until_in_s is None:
        return None
    return "forever" if status.until_in_s == inf else time.time() + status.until_in_s


def _of_status(status: Status, keeper: Keeper) -> Mapping[str, Any]:
    needs = next(m.vram_bytes for m in keeper.roster.models if m.name == status.model)
    return {
        "state": status.state,
        "predicted_bytes": dict(needs),
        "held_bytes": dict(status.held),
        "waiting": status.waiting,
        "until": until(status),
        "cause": status.cause,
        "error": status.error,
        "retry_in_s": round(status.retry_in_s, 1),
    }


def _of_lane(lane: Lane) -> Mapping[str, Any]:
    """Of a model that somebody else runs, or that `serve run` keeps loaded."""
    loaded = [replica.loaded for replica in lane.replicas]
    at = max((r.loaded_until for r in lane.replicas if r.loaded_until is not None), default=None)
    state = min((r.state for r in lane.replicas), key=lambda s: s is not State.READY)
    return {
        "state": ModelState.COLD if loaded and set(loaded) == {False} else state,
        "predicted_bytes": None,
        "held_bytes": None,
        "waiting": 0,
        "until": "forever" if at == inf else at,
        "cause": None,
        "error": next((replica.error for replica in lane.replicas if replica.error), None),
        "retry_in_s": 0.0,
    }
