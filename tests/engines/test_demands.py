"""From a model's entry in the config to a demand."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import ModelConfig
from common.errors import ConfigError
from engines.demands import demand, engine_version
from placement.plan.demand import Layout
from tests.placement.boxes import llama

FACTS = llama()


def entry(**keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": "some/model", **keys})


def test_auto_leaves_everything_open() -> None:
    asked = demand("m", entry(), FACTS)
    assert (asked.layout, asked.replicas, asked.gpus) == (None, None, None)
    assert asked.settings.max_model_len is None
    assert asked.settings.vllm_version == engine_version()


def test_what_is_fixed_stays_fixed() -> None:
    placement = {"tp": 2, "replicas": 2, "gpus": [0, 1, 2, 3]}
    asked = demand("m", entry(placement=placement, max_model_len=4096, dtype="float16"), FACTS)
    assert (asked.layout, asked.replicas, asked.gpus) == (Layout(2, 1), 2, (0, 1, 2, 3))
    assert (asked.settings.max_model_len, asked.settings.dtype) == (4096, "float16")


def test_engine_arguments_that_change_memory_are_known_to_the_plan() -> None:
    arguments = {
        "gpu_memory_utilization": 0.5,
        "kv_cache_memory_bytes": 1 << 30,
        "max_num_seqs": 8,
        "enable_expert_parallel": True,
        "enable_prefix_caching": True,
    }
    settings = demand("m", entry(engine_args=arguments), FACTS).settings
    assert settings.gpu_memory_utilization == 0.5
    assert settings.kv_cache_bytes == 1 << 30
    assert settings.max_num_seqs == 8
    assert settings.expert_parallel


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [("max_num_seqs", "many", "int"), ("gpu_memory_utilization", "half", "float")],
)
def test_an_engine_argument_of_the_wrong_type(argument: str, value: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"engine_args.{argument}: '{value}' is no {kind}"):
        demand("m", entry(engine_args={argument: value}), FACTS)
