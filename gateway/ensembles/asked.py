"""A request for an ensemble at the door: which one, by which surface, and whether it can do what is
asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from common.errors import BadRequestError
from gateway.ensembles.chat import ChatSurface
from gateway.ensembles.messages import MessagesSurface
from gateway.ensembles.responses import ResponsesSurface
from gateway.ensembles.surface import Json, Surface
from gateway.envelope import Envelope
from router.ensembles.asked import Known, recipe_of
from router.ensembles.naming import is_ensemble
from router.ensembles.recipe import Recipe

SURFACES: Mapping[str, Surface] = {
    "/v1/chat/completions": ChatSurface(),
    "/v1/messages": MessagesSurface(),
    "/v1/responses": ResponsesSurface(),
}
# They compare answers as text, and a call of a tool is none. Other kinds refuse what they cannot.
_NO_TOOLS = frozenset({"vote", "cascade"})
_ROUTING = frozenset({"ensemble", "trace", "task", "strategy", "keep_alive"})


@dataclass(frozen=True, slots=True)
class Asked:
    """`chat` is the request as a chat completion's body; `routing` what it says to `auto`."""

    recipe: Recipe
    surface: Surface
    chat: Json
    streamed: bool
    wants_usage: bool
    wants_trace: bool
    routing: Json


def is_asked(envelope: Envelope) -> bool:
    """May it be for an ensemble? Cheap, since every request is asked."""
    routing = envelope.routing
    return (
        is_ensemble(envelope.model)
        or (isinstance(routing, dict) and routing.get("ensemble") is not None)
        or envelope.plugins is not None
    )


def asked_of(body: bytes, path: str, known: Known) -> Asked | None:
    """None for a request that is none of an ensemble after all. Raises BadRequestError, or
    ModelNotFoundError."""
    fields = _decoded(body)
    model = fields.get("model")
    recipe = recipe_of(model if isinstance(model, str) else None, fields, known)
    if recipe is None:
        return None
    surface = SURFACES.get(path)
    if surface is None:
        raise BadRequestError(
            f"{path}: ensembles answer {', '.join(SURFACES)}; name a model here", param="model"
        )
    chat = surface.chat(fields)
    _check(recipe, surface, path, chat)
    routing = _routing(fields.get("routing"))
    options = fields.get("stream_options")
    return Asked(
        recipe,
        surface,
        chat,
        streamed=bool(fields.get("stream")),
        wants_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        wants_trace=bool(routing.get("trace")),
        routing={key: routing[key] for key in ("task", "strategy") if key in routing},
    )


def _decoded(body: bytes) -> Json:
    """The envelope was read of it, so that it is known to be JSON."""
    try:
        fields = msgspec.json.decode(body) if body else {}
    except RecursionError:
        raise BadRequestError("request body is nested too deep") from None
    if not isinstance(fields, dict):
        raise BadRequestError("request body must be an object")
    return fields


def _routing(routing: Any) -> Json:
    if routing is None:
        return {}
    if not isinstance(routing, dict):
        raise BadRequestError("routing must be an object", param="routing")
    unknown = routing.keys() - _ROUTING
    if unknown:
        raise BadRequestError(
            f"routing.{min(unknown)}: unknown; allowed: {', '.join(sorted(_ROUTING))}",
            param="routing",
        )
    if not isinstance(routing.get("trace", False), bool):
        raise BadRequestError("routing.trace must be true or false", param="routing")
    return routing


def _check(recipe: Recipe, surface: Surface, path: str, chat: Json) -> None:
    kind = recipe.kind
    if kind == "compare" and not surface.several:
        raise BadRequestError(
            f"{path}: holds one answer, and {kind} gives several; use /v1/chat/completions",
            param="model",
        )
    limit = chat.get("max_completion_tokens", chat.get("max_tokens"))
    if isinstance(limit, int) and limit < 1:
        raise BadRequestError("max_tokens: must be at least 1", param="max_tokens")
    if chat.get("tools") and kind in _NO_TOOLS:
        raise BadRequestError(
            f"tools: {kind} compares answers as text, and a call of a tool is none; name a model",
            param="tools",
        )
