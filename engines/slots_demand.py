"""From a model's entry to what a plan must know, for engines that give each slot a whole context.

Their KV cache is the product of the two, and is given to the plan in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.config import ModelConfig, PlacementConfig
from common.errors import ConfigError
from common.units import GIB
from engines.llamacpp_args import context_tokens
from placement.footprint import kv
from placement.footprint.settings import Settings
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand, Layout

_DEFAULT_CONTEXT_TOKENS = 8192
_LEAST_DEFAULT_CONTEXT_TOKENS = 1024
_DEFAULT_KV_BYTES = 4 * GIB


@dataclass(frozen=True)
class Slots:
    """`kept` contexts are held beside those that are at work, `kept_bytes` of them if that is set.

    `fixed_in` is where dtype and quantization stand, in words.
    """

    engine: str
    count: int
    fixed_in: str
    kept: int = 0
    kept_bytes: int | None = None


def demand(name: str, model: ModelConfig, facts: ModelFacts, slots: Slots) -> Demand:
    """Raises ConfigError for what such replicas cannot be."""
    fixed = model.placement if isinstance(model.placement, PlacementConfig) else None
    if fixed and fixed.tp * fixed.pp > 1:
        raise ConfigError(
            f"models.{name}.placement: engine {slots.engine} runs a replica on one GPU or on the "
            "CPU, so tp and pp must be 1; use replicas"
        )
    for key, value in (("dtype", model.dtype), ("quantization", model.quantization)):
        if value not in {"auto", None}:
            raise ConfigError(f"models.{name}.{key}: is fixed in {slots.fixed_in}; leave it out")
    length = model.max_model_len
    needed = partial(_kv_bytes, facts, slots)
    tokens = _default_context(facts, needed) if length == "auto" else length
    return Demand(
        model=name,
        facts=facts,
        settings=Settings(
            max_model_len=tokens,
            kv_cache_bytes=needed(tokens),
            max_num_seqs=slots.count,
            enforce_eager=True,
        ),
        layout=Layout(1, 1),
        replicas=fixed.replicas if fixed else None,
        gpus=fixed.gpus if fixed else None,
        kv_by_context=slots.kept_bytes is None,
    )


def default_context(facts: ModelFacts, slots: int) -> int:
    """The model's own, within 8,192 tokens and 4 GiB for all slots."""
    return _default_context(facts, partial(_kv_bytes, facts, Slots("", slots, "")))


def _default_context(facts: ModelFacts, needed_bytes: Callable[[int], int]) -> int:
    tokens = min(facts.max_position_embeddings, _DEFAULT_CONTEXT_TOKENS)
    while tokens > _LEAST_DEFAULT_CONTEXT_TOKENS and needed_bytes(tokens) > _DEFAULT_KV_BYTES:
        tokens //= 2
    return tokens


def _kv_bytes(facts: ModelFacts, slots: Slots, tokens: int) -> int:
    each = kv.needed_bytes(
        facts, Settings(enforce_eager=True, max_model_len=context_tokens(tokens))
    )
    kept = slots.kept * each if slots.kept_bytes is None else slots.kept_bytes
    return slots.count * each + kept
