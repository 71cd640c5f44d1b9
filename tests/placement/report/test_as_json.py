"""The plan for scripts: stable keys, integer bytes, parts that add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from placement.calibration.measurement import Row
from placement.plan.speed import BASIS
from placement.report.as_json import to_json
from tests.placement import plans

PLANS = ["one_gpu", "four_replicas", "tensor_parallel", "shared", "refused", "on_cpu"]


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from pairs(each)


@pytest.mark.parametrize("name", PLANS)
def test_it_is_json_with_integer_bytes(name: str) -> None:
    told = json.loads(json.dumps(to_json(getattr(plans, name)()), allow_nan=False))
    sizes = [(k, v) for k, v in pairs(told) if k.endswith("bytes") and v is not None]
    assert len(sizes) > 10
    assert [(k, v) for k, v in sizes if type(v) is not int] == []


@pytest.mark.parametrize("name", PLANS)
def test_parts_add_up(name: str) -> None:
    for gpu in to_json(getattr(plans, name)())["gpus"]:
        total = sum(part["bytes"] for part in gpu["parts"])
        assert total == gpu["total_bytes"] + gpu["over_bytes"]


def test_the_keys_that_scripts_rely_on() -> None:
    told = to_json(plans.shared())
    assert told["version"] == 1
    assert told["fits"] is True
    assert told["predictions_rest_on"] == BASIS
    assert told["workload"] == {"input_tokens": 1024, "output_tokens": 256}
    assert told["box"]["hostname"] == "shed"
    first = told["replicas"][0]
    assert first["replica"] == "qwen3-4b-0"
    assert (first["gpus"], first["tp"], first["pp"]) == (["0"], 1, 1)
    assert first["kv_cache_memory_bytes"] == first["kv_cache_bytes"]
    assert {term["term"] for term in first["terms"]} >= {"weights", "activation"}
    assert first["predicted"]["tokens_per_s"] == 1480.0
    assert told["alternatives"]["qwen3-4b"][0]["chosen"] is True
    assert told["alternatives"]["qwen3-4b"][0]["predicted_tokens_per_s"] == 10000.0


def test_a_refusal_is_no_fit() -> None:
    told = to_json(plans.refused())
    assert told["fits"] is False
    (refusal,) = told["refusals"]
    assert refusal["model"] == "llama-3.3-70b"
    assert [each["change"] for each in refusal["remedies"]][1] == "2 x NVIDIA H100 80GB"
    assert told["alternatives"]["llama-3.3-70b"][0]["predicted"] is None


def test_earlier_starts_are_told_with_their_error() -> None:
    told = to_json(plans.one_gpu(), {"qwen3-8b-0": [Row("weights", 98, 100)]})
    (row,) = told["starts"]["qwen3-8b-0"]
    assert row == {"term": "weights", "predicted": 98, "reported": 100, "error": row["error"]}
    assert row["error"] == pytest.approx(-0.02)
