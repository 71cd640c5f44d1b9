"""What an ensemble would do with a request: `POST /v1/route`, and `GET /v1/models` of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.ensemble_section import AUTO
from engines.prices import Tokens
from gateway.ensembles.asked import Asked
from gateway.ensembles.prices import cost_usd
from router.dispatch import Dispatcher
from router.ensembles.ask import Member, Request
from router.ensembles.naming import PREFIX
from router.ensembles.plan import Price, plan_of
from router.ensembles.recipe import Recipe
from router.replicas import Lane


def explained(
    asked: Asked, dispatcher: Dispatcher, roster: Mapping[str, Member], chosen: str | None
) -> dict[str, Any]:
    """`chosen`: the model that `auto` would take, where it is a member."""
    lanes = _lanes(asked.recipe, dispatcher, chosen)
    prices = {name: _price(lane) for name, lane in lanes.items()}
    plan = plan_of(asked.recipe, Request.of(asked.chat), prices, roster, chosen)
    for member in plan["members"]:
        lane = lanes.get(member["model"])
        member["ready"] = lane.has_ready() if lane else None
        member["gpus"] = sorted({g for r in lane.replicas for g in r.gpu_ids}) if lane else []
    return plan


def entry(recipe: Recipe, dispatcher: Dispatcher, created: int) -> dict[str, Any]:
    """As a model, for the list of them."""
    lanes = _lanes(recipe, dispatcher, None)
    lengths = [lane.context_len for lane in lanes.values() if lane.context_len]
    return {
        "id": recipe.name,
        "object": "model",
        "created": created,
        "owned_by": "roundhouse",
        "root": PREFIX,
        "parent": None,
        "max_model_len": min(lengths, default=None),
        "ready": all(lane.has_ready() for lane in lanes.values()),
        "ensemble": {"kind": recipe.kind, "members": list(recipe.members)},
    }


def _lanes(recipe: Recipe, dispatcher: Dispatcher, chosen: str | None) -> dict[str, Lane]:
    named = (chosen if name == AUTO else name for name in recipe.spec.models)
    known = frozenset(dispatcher.names)
    return {name: dispatcher.route(name).lane for name in named if name in known}


def _price(lane: Lane) -> Price:
    return lambda prompt, output: cost_usd(lane, Tokens(prompt, output))
