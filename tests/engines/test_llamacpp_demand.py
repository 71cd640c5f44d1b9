"""What a plan is told of a GGUF model: every slot's context is reserved, so it is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.config import ModelConfig
from common.errors import ConfigError
from common.units import GIB
from engines.llamacpp_demand import default_context, demand
from placement.plan import planner
from placement.plan.demand import Layout
from tests.placement.boxes import box, llama

FACTS = llama()
# Keys and values of 2 bytes in every layer.
TOKEN_BYTES = 2 * 2 * len(FACTS.layers) * FACTS.n_kv_heads * 128


def entry(**keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": "/some/model.gguf", **keys})


def test_the_kv_cache_is_that_of_all_slots() -> None:
    asked = demand("m", entry(max_model_len=4096, engine_args={"n_parallel": 8}), FACTS)
    wanted = 8 * 4096 * TOKEN_BYTES
    assert asked.settings.kv_cache_bytes == pytest.approx(wanted, rel=0.01)
    assert asked.settings.max_model_len == 4096
    assert asked.settings.max_num_seqs == 8
    assert asked.layout == Layout(1, 1)


def test_a_context_that_is_left_open_is_bounded_by_what_all_slots_take() -> None:
    assert default_context(FACTS, 1) == 8192
    assert default_context(FACTS, 8) < 8192
    assert 8 * default_context(FACTS, 8) * TOKEN_BYTES <= 4 * GIB
    assert default_context(replace(FACTS, max_position_embeddings=2048), 1) == 2048


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"placement": {"tp": 2}}, r"m\.placement: engine llamacpp .* use replicas"),
        ({"placement": {"pp": 2}}, r"m\.placement: engine llamacpp .* use replicas"),
        ({"dtype": "float16"}, r"m\.dtype: is fixed in a GGUF file"),
        ({"quantization": "fp8"}, r"m\.quantization: is fixed in a GGUF file"),
    ],
)
def test_what_llama_cpp_replicas_cannot_be(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        demand("m", entry(**keys), FACTS)


def test_a_plan_on_the_cpu_gives_every_slot_its_context() -> None:
    made = planner.make([demand("m", entry(max_model_len=2048), FACTS)], box(), reserve_bytes=GIB)
    (placed,) = made.placements
    assert placed.settings.max_model_len == 2048
    assert placed.footprint.kv_cache_tokens >= 4 * 2048


def test_what_is_too_large_for_the_cpu_is_refused() -> None:
    small = box(free_gib=4)
    made = planner.make([demand("m", entry(max_model_len=8192), FACTS)], small, reserve_bytes=GIB)
    assert [refusal.model for refusal in made.refusals] == ["m"]
    assert "not enough memory" in made.refusals[0].reason


def test_a_replica_on_a_gpu_stands_on_one() -> None:
    """A model that is too large for a card is refused, though two of them would hold it."""
    asked = demand("m", entry(max_model_len=4096, placement={"replicas": 2}), FACTS)
    made = planner.make([asked], box(2, "RTX 5090"), reserve_bytes=GIB)
    assert [len(placed.gpu_ids) for placed in made.placements] == [1, 1]
    large = demand("m", entry(max_model_len=4096), llama(20))
    made = planner.make([large], box(2, "RTX 5090"), reserve_bytes=GIB)
    assert [refusal.model for refusal in made.refusals] == ["m"]
