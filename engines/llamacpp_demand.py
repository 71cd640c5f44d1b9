"""From a GGUF model's entry in the config to what a plan must know of it.

llama.cpp reserves every slot's whole context when it starts.
"""

from __future__ import annotations

from common.config import ModelConfig
from engines import slots_demand
from engines.llamacpp_args import slots_of
from engines.slots_demand import Slots, default_context
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand

__all__ = ["default_context", "demand"]


def demand(name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
    """Raises ConfigError for what llama.cpp replicas cannot be."""
    slots = Slots("llamacpp", slots_of(model.engine_args), fixed_in="a GGUF file")
    return slots_demand.demand(name, model, facts, slots)
