"""From an MLX model's entry in the config to what a plan must know of it.

MLX reserves nothing: its caches grow, and the plan counts what they may grow to.
"""

from __future__ import annotations

from common.config import ModelConfig
from engines import slots_demand
from engines.mlx_args import kept_contexts, slots_of
from engines.slots_demand import Slots
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand


def demand(name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
    """Raises ConfigError for what MLX replicas cannot be."""
    slots = Slots(
        "mlx",
        slots_of(model.engine_args),
        fixed_in="the model's files",
        kept=kept_contexts(model.engine_args),
        kept_bytes=model.engine_args.get("prompt_cache_bytes"),
    )
    return slots_demand.demand(name, model, facts, slots)
