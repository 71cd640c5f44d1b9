"""What a member's tokens cost, where anybody knows."""

from __future__ import annotations

from engines.prices import Tokens
from router.replicas import Lane


def cost_usd(lane: Lane, tokens: Tokens) -> float | None:
    """In US dollars; None for a model that runs here, and for one whose price is unknown."""
    endpoint = lane.replicas[0].endpoint if lane.replicas else None
    return endpoint.price(tokens) if endpoint and endpoint.price else None
