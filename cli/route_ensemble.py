"""`roundhouse route --model ensemble:...`: what an ensemble would do with a prompt, and at what
price at the most. No model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.listing import print_json, print_table
from cli.source import ALONE, Source
from common.config import Config
from common.ensemble_section import AUTO
from common.errors import UsageError
from engines.endpoint import price
from engines.prices import Tokens
from router.ensembles.ask import Request
from router.ensembles.asked import Known, recipe_of
from router.ensembles.naming import is_ensemble
from router.ensembles.plan import Price, plan_of


def route_ensemble(
    prompt: str, model: str, source: Source, *, max_tokens: int | None, as_json: bool
) -> None:
    if not prompt:
        raise UsageError("route --model needs a prompt")
    if not is_ensemble(model):
        raise UsageError(
            f"--model {model!r}: takes an ensemble, such as ensemble:vote:5; a model by its name "
            "needs no route"
        )
    wish = {"model": model, **({"max_tokens": max_tokens} if max_tokens else {})}
    client = source.client()
    told = client.route(prompt, **wish) if client else by_config(prompt, wish, source.config)
    if as_json:
        print_json({"asked": client.url if client else None, **told})
        return
    print(f"asked {client.url}" if client else ALONE)
    show(told)


def by_config(prompt: str, wish: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """As `POST /v1/route` would tell it, but for who is ready and how often members are right."""
    aliases = {alias: name for name, model in config.models.items() for alias in model.aliases}
    names = {**{name: name for name in config.models}, **aliases}
    recipe = recipe_of(wish["model"], wish, Known(names, config.ensembles, config.router.ensembles))
    assert recipe is not None
    request = Request.of({**wish, "messages": [{"role": "user", "content": prompt}]})
    chosen = None
    if AUTO in recipe.members:
        from cli.route import by_config as by_rules

        chosen = by_rules(prompt, config)["model"]
    prices = {name: found for name, own in names.items() if (found := _price(config, own))}
    return plan_of(recipe, request, prices, {}, chosen)


def _price(config: Config, model: str) -> Price | None:
    known = price(config, model)
    return (lambda prompt, output: known(Tokens(prompt, output))) if known else None


def show(told: Mapping[str, Any]) -> None:
    print(f"{told['ensemble']}: {told['kind']}, at most {told['requests_at_most']} answers")
    output = told["output_tokens_at_most"]
    spent = f"{output} out at most" if output else "out: no max_tokens given, so no bound"
    print(f"tokens: about {told['prompt_tokens']} in for each, {spent}")
    cost = told["cost_usd_at_most"]
    print(f"cost: {_dollars(cost)}{' at most' if cost is not None else ''}")
    print(f"ends: {_end(told)}")
    print()
    print_table(
        ("MEMBER", "ANSWERS", "RIGHT", "SHARES A GPU", "COST OF ONE", "READY"),
        (
            (
                each["model"],
                each["samples"],
                "-" if each["record"] is None else f"{each['record']:.2f}",
                each["turn"] or "-",
                _dollars(each["cost_usd_a_request"]),
                {True: "yes", False: "no", None: "-"}[each.get("ready")],
            )
            for each in told["members"]
        ),
    )


def _end(told: Mapping[str, Any]) -> str:
    parts = [f"with {told['first']} answers" if told["first"] else "with all answers"]
    parts.append(f"fails with fewer than {told['quorum']}")
    if told["soft_deadline_s"]:
        parts.append(f"takes what is there after {told['soft_deadline_s']:g} s")
    parts.append(f"over after {told['deadline_s']:g} s")
    return ", ".join(parts)


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.6f}".rstrip("0").rstrip(".")
