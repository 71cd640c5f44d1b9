"""The models that clients may name, and what `auto` would choose: `/v1/models`, `/v1/route`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request

from common.errors import BadRequestError, ModelNotFoundError
from gateway.chooser import Asked
from gateway.envelope import read_envelope
from router import auto

if TYPE_CHECKING:
    from gateway.app import Gateway

_CHAT = "/v1/chat/completions"
_SAID = {"messages", "prompt", "input"}  # a chat's, a completion's, or a response's words


def models_router(gateway: Gateway) -> APIRouter:
    router = APIRouter()
    dispatcher = gateway.dispatcher
    started_at = int(time.time())

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        entries = [_model_entry(gateway, name, started_at) for name in dispatcher.names]
        autos = [_auto_entry(gateway, name, started_at) for name in auto.names()]
        ensembles = gateway.ensembles.entries(started_at).values()
        return {"object": "list", "data": [*entries, *autos, *ensembles]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name in auto.names():
            return _auto_entry(gateway, name, started_at)
        if name in gateway.ensembles.known.names:
            return gateway.ensembles.entries(started_at)[name]
        if name not in dispatcher.names:
            dispatcher.route(name)
            raise ModelNotFoundError(f"no model {name!r}", param="model")
        return _model_entry(gateway, name, started_at)

    @router.post("/v1/route")
    async def route(request: Request) -> dict[str, Any]:
        """What `model: auto` or an ensemble would do with a chat or a {"prompt"}, and why. Asks no
        model."""
        body = await request.body()
        envelope = read_envelope(body, b"application/json", b"")
        ensemble = gateway.ensembles.asked(envelope, as_chat(body), _CHAT)
        if ensemble is not None:
            return gateway.ensembles.explain(ensemble, dict(request.scope["headers"]))
        name = envelope.model if envelope.model and auto.is_auto(envelope.model) else auto.AUTO
        headers = dict(request.scope["headers"])
        asked = Asked.of(name, envelope.routing, _CHAT, headers, body)
        if not _SAID & msgspec.json.decode(body or b"{}").keys():
            raise BadRequestError('nothing to route: send {"prompt": "..."} or a chat\'s messages')
        decision, second_stage = gateway.chooser.explain(asked)
        return {**auto.described(decision), "second_stage": second_stage}

    return router


def as_chat(body: bytes) -> bytes:
    """A bare prompt as a chat; all else as it is."""
    fields = msgspec.json.decode(body or b"{}")
    if not isinstance(fields, dict) or "messages" in fields or "prompt" not in fields:
        return body
    prompt = fields.pop("prompt")
    return msgspec.json.encode({**fields, "messages": [{"role": "user", "content": prompt}]})


def _model_entry(gateway: Gateway, name: str, created: int) -> dict[str, Any]:
    """OpenAI's model object with what vLLM adds to it: root, parent, max_model_len."""
    lane = gateway.dispatcher.route(name).lane
    lengths = [r.max_model_len for r in lane.replicas if r.max_model_len]
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "roundhouse",
        "root": lane.model,
        "parent": None if name == lane.model else lane.model,
        "max_model_len": min(lengths, default=None),
        "ready": lane.has_ready(),
    }


def _auto_entry(gateway: Gateway, name: str, created: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "roundhouse",
        "root": auto.AUTO,
        "parent": None,
        "max_model_len": None,
        "ready": any(lane.has_ready() for lane in gateway.dispatcher.lanes.values()),
    }
