"""What a plan is told of an MLX model, and what it makes of it on a Mac."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.config import ModelConfig
from common.errors import ConfigError
from common.units import GIB
from engines.base import ReplicaSpec
from engines.mlx import MlxEngine
from engines.mlx_demand import demand
from placement.inventory import apple
from placement.inventory.inventory import Inventory
from placement.plan import planner
from tests.engines.specs import spec_of
from tests.placement.boxes import box, llama

FACTS = llama()
# Keys and values of 2 bytes in every layer.
TOKEN_BYTES = 2 * 2 * len(FACTS.layers) * FACTS.n_kv_heads * 128


def entry(**keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": "/some/model", "engine": "mlx", **keys})


def mac(gib: int = 36, **facts: str) -> Inventory:
    found = {"hw.memsize": str(gib * GIB), "machdep.cpu.brand_string": "Apple M3 Pro", **facts}
    gpu = apple.gpu(found, available_bytes=gib * GIB)
    assert gpu is not None
    return replace(box(), gpus=(gpu,))


@pytest.mark.parametrize(
    ("arguments", "contexts"),
    [({}, 4 + 2), ({"decode_concurrency": 1}, 1 + 1), ({"kv_bits": 8}, 1 + 1)],
)
def test_slots_and_the_prompt_cache_are_counted(arguments: dict[str, Any], contexts: int) -> None:
    asked = demand("m", entry(max_model_len=4096, engine_args=arguments), FACTS)
    wanted = contexts * 4096 * TOKEN_BYTES
    assert asked.settings.kv_cache_bytes == pytest.approx(wanted, rel=0.01)


def test_a_prompt_cache_of_the_users_own_size_is_counted() -> None:
    arguments = {"decode_concurrency": 2, "prompt_cache_bytes": GIB}
    asked = demand("m", entry(max_model_len=4096, engine_args=arguments), FACTS)
    assert asked.settings.kv_cache_bytes == pytest.approx(2 * 4096 * TOKEN_BYTES + GIB, rel=0.01)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"placement": {"tp": 2}}, r"m\.placement: engine mlx .* use replicas"),
        ({"dtype": "float16"}, r"m\.dtype: is fixed in the model's files"),
        ({"quantization": "fp8"}, r"m\.quantization: is fixed in the model's files"),
    ],
)
def test_what_mlx_replicas_cannot_be(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        demand("m", entry(**keys), FACTS)


def test_gguf_files_are_not_for_mlx() -> None:
    from common.config import check_source

    with pytest.raises(ValueError, match="mlx does not load GGUF files here"):
        check_source("m", entry(source="/some/model.gguf"), "mlx")


def test_a_mac_holds_within_what_macos_lends_its_gpu() -> None:
    asked = demand("m", entry(max_model_len=4096), FACTS)
    made = planner.make([asked], mac(), reserve_bytes=GIB)
    (placed,) = made.placements
    assert placed.gpu_ids == ("0",)
    assert placed.footprint.device.kind == "apple"
    assert placed.footprint.device.total_bytes == 24 * GIB  # of 36
    assert placed.settings.kv_cache_bytes == asked.settings.kv_cache_bytes


def test_a_mac_is_not_asked_for_nvidias_driver() -> None:
    """Nothing tells what is free of a memory that is shared, and NVML knows no such GPU."""
    asked = demand("m", entry(max_model_len=4096), FACTS)
    (placed,) = planner.make([asked], mac(), reserve_bytes=GIB).placements
    given = spec_of(gpu_ids=placed.gpu_ids, footprint=placed.footprint, on_cpu=False)
    engine = MlxEngine(ReplicaSpec(**given))
    engine._wait_for_room()
    assert engine.status().phase == "starting mlx_lm.server"  # it waits for nothing


def test_what_is_too_large_for_a_mac_is_refused_unless_its_limit_is_raised() -> None:
    asked = demand("m", entry(max_model_len=4096), llama(11))
    assert planner.make([asked], mac(), reserve_bytes=GIB).refusals
    raised = mac(**{"iogpu.wired_limit_mb": "32768"})
    assert not planner.make([asked], raised, reserve_bytes=GIB).refusals


def test_two_that_fit_alone_may_not_fit_together() -> None:
    two = [demand(name, entry(max_model_len=4096), FACTS) for name in ("a", "b")]
    made = planner.make(two, mac(), reserve_bytes=GIB)
    assert [placed.model for placed in made.placements] == ["a"]
    assert [refusal.model for refusal in made.refusals] == ["b"]
