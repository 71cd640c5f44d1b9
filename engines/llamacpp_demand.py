"""From a GGUF model's entry in the config to what a plan must know of it.

llama.cpp reserves every slot's whole context when it starts, so the KV cache is their product and
is given to the plan in bytes.
"""

from __future__ import annotations

from dataclasses import replace

from common.config import ModelConfig, PlacementConfig
from common.errors import ConfigError
from common.units import GIB
from engines.llamacpp_args import context_tokens, slots_of
from placement.footprint import kv
from placement.footprint.settings import Settings
from placement.models.facts import ModelFacts
from placement.plan.demand import Demand, Layout

_DEFAULT_CONTEXT_TOKENS = 8192
_LEAST_DEFAULT_CONTEXT_TOKENS = 1024
_DEFAULT_KV_BYTES = 4 * GIB


def demand(name: str, model: ModelConfig, facts: ModelFacts) -> Demand:
    """Raises ConfigError for what llama.cpp replicas cannot be."""
    fixed = model.placement if isinstance(model.placement, PlacementConfig) else None
    if fixed and fixed.tp * fixed.pp > 1:
        raise ConfigError(
            f"models.{name}.placement: engine llamacpp runs a replica on one GPU or on the CPU, "
            "so tp and pp must be 1; use replicas"
        )
    for key, value in (("dtype", model.dtype), ("quantization", model.quantization)):
        if value not in {"auto", None}:
            raise ConfigError(f"models.{name}.{key}: is fixed in a GGUF file; leave it out")
    slots = slots_of(model.engine_args)
    length = model.max_model_len
    tokens = default_context(facts, slots) if length == "auto" else length
    return Demand(
        model=name,
        facts=facts,
        settings=_settings(facts, tokens, slots),
        layout=Layout(1, 1),
        replicas=fixed.replicas if fixed else None,
        gpus=fixed.gpus if fixed else None,
    )


def default_context(facts: ModelFacts, slots: int) -> int:
    """The model's own, within 8,192 tokens and 4 GiB for all slots: it is reserved at once."""
    tokens = min(facts.max_position_embeddings, _DEFAULT_CONTEXT_TOKENS)
    while tokens > _LEAST_DEFAULT_CONTEXT_TOKENS and _kv_bytes(facts, tokens, slots) > (
        _DEFAULT_KV_BYTES
    ):
        tokens //= 2
    return tokens


def _settings(facts: ModelFacts, tokens: int, slots: int) -> Settings:
    return Settings(
        max_model_len=tokens,
        kv_cache_bytes=_kv_bytes(facts, tokens, slots),
        max_num_seqs=slots,
        enforce_eager=True,
    )


def _kv_bytes(facts: ModelFacts, tokens: int, slots: int) -> int:
    each = replace(Settings(enforce_eager=True), max_model_len=context_tokens(tokens))
    return slots * kv.needed_bytes(facts, each)
