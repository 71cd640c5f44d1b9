"""What an ensemble would do and cost at the most, told before it runs. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from common.ensemble_section import AUTO
from router.ensembles.ask import Member, Request
from router.ensembles.recipe import Recipe

# US dollars for so many tokens in and out; None where nobody knows.
Price = Callable[[int, int], float | None]
# Their members read nothing but the client's own words.
_ONE_PHASE = frozenset({"vote", "compare"})


def plan_of(
    recipe: Recipe,
    request: Request,
    prices: Mapping[str, Price],
    roster: Mapping[str, Member],
    chosen: str | None = None,
) -> dict[str, Any]:
    """For people and scripts. `chosen`: the model that `auto` would take; prices are by model."""
    spec = recipe.spec
    prompt, answer = request.prompt_tokens, request.max_tokens
    names = [chosen or name if name == AUTO else name for name in spec.models]
    bounds = _bounds(recipe, prompt, answer)
    dearest = [_price(prices, name, *bounds) for name in names] if bounds else [None]
    known = [cost for cost in dearest if cost is not None]
    each = getattr(spec, "of_each", getattr(spec, "samples", None)) or 1
    return {
        "ensemble": recipe.name,
        "kind": recipe.kind,
        "members": [
            {
                "model": name,
                "samples": each,
                "record": roster[name].record if name in roster else None,
                "turn": roster[name].turn if name in roster else None,
                "cost_usd_a_request": _price(prices, name, prompt, answer) if answer else None,
            }
            for name in names
        ],
        "requests_at_most": recipe.max_requests,
        "prompt_tokens": prompt,
        "output_tokens_at_most": recipe.max_requests * answer if answer else None,
        "cost_usd_at_most": max(known) * recipe.max_requests
        if known and len(known) == len(dearest)
        else None,
        "quorum": spec.quorum,
        "first": spec.first,
        "soft_deadline_s": spec.soft_deadline_s,
        "deadline_s": spec.deadline_s,
        "on_error": spec.on_error,
        "budget_tokens": spec.budget.tokens,
    }


def _bounds(recipe: Recipe, prompt: int, answer: int | None) -> tuple[int, int] | None:
    """Tokens in and out of any one request; a later one may read all earlier answers."""
    if answer is None:
        return None
    earlier = 0 if recipe.kind in _ONE_PHASE else (recipe.max_requests - 1) * answer
    return prompt + earlier, answer


def _price(prices: Mapping[str, Price], name: str, prompt: int, answer: int) -> float | None:
    price = prices.get(name)
    return price(prompt, answer) if price else None
