"""One start in a line of JSON, and the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.units import GIB
from placement.footprint.cases import answer, answers
from placement.footprint.settings import Settings
from placement.footprint.weights import tensor_bytes
from placement.models.config_json import facts_of

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
H100: dict[str, Any] = {
    "id": "a start",
    "config": LLAMA,
    "gpu_mem_gib": 79.19,
    "gpu": "H100-80GB",
    "n_gpus": 1,
    "tp": 1,
    "pp": 1,
    "dtype": "bfloat16",
    "quantization": "",
    "kv_cache_dtype": "auto",
    "gpu_memory_utilization": 0.95,
    "max_model_len": 8192,
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "enforce_eager": False,
    "vllm_version": "0.19.0",
}
KEYS = [
    "id",
    "weights_gib",
    "activation_gib",
    "non_torch_gib",
    "cudagraph_gib",
    "kv_cache_gib",
    "kv_cache_tokens",
    "max_concurrency",
    "fits",
    "basis",
    "notes",
]


def test_answers_in_figures() -> None:
    found = answer(H100)
    assert list(found) == KEYS
    assert found["weights_gib"] == pytest.approx(14.99, abs=0.01)
    assert found["activation_gib"] == pytest.approx(1.89, abs=0.01)
    assert found["kv_cache_gib"] == pytest.approx(58.11, rel=0.01)
    assert found["kv_cache_tokens"] == pytest.approx(476016, rel=0.01)
    assert (found["id"], found["fits"], found["basis"]) == ("a start", True, "fitted")


def test_missing_null_and_empty_are_the_same() -> None:
    keys = set(H100) - {"id", "config", "gpu_mem_gib"}
    kept = {k: v for k, v in H100.items() if k not in keys}
    gone = answer(kept)
    null, empty = (answer(kept | dict.fromkeys(keys, value)) for value in (None, ""))
    assert gone == null == empty
    assert gone["kv_cache_gib"] is not None
    assert "version is not known" in gone["notes"]


@pytest.mark.parametrize("text", ["0.26.1rc1.dev608+g99a10304d", "", None, "nightly", 0.19])
def test_any_version_is_taken(text: Any) -> None:
    assert answer(H100 | {"vllm_version": text})["kv_cache_gib"] > 0


def test_numbers_may_be_text() -> None:
    as_text = {k: v if k == "config" else str(v) for k, v in H100.items()}
    assert answer(as_text) == answer(H100)


def test_without_a_config_only_given_weights_are_known() -> None:
    blank = answer({"id": 7})
    assert list(blank) == KEYS
    assert blank["id"] == 7
    assert {blank[k] for k in KEYS[1:-1]} == {None}
    assert "config" in blank["notes"]
    given = answer({"weights_bytes": 4 << 30, "tp": 2})
    assert given["weights_gib"] == 2.0
    assert given["kv_cache_gib"] is None


def test_without_a_gpu_the_weights_are_known() -> None:
    found = answer({"config": LLAMA})
    assert found["weights_gib"] == pytest.approx(14.99, abs=0.01)
    assert (found["kv_cache_gib"], found["fits"]) == (None, None)
    assert "gpu_mem_gib" in found["notes"]


def test_a_card_of_one_size_needs_no_memory_given() -> None:
    named = {k: v for k, v in H100.items() if k != "gpu_mem_gib"}
    assert answer(named) == answer(H100)


@pytest.mark.parametrize("gpu", [{}, {"gpu_mem_gib": 79.19, "gpu": "H100"}])
def test_tokens_of_a_given_kv_cache(gpu: dict[str, Any]) -> None:
    case = {"config": LLAMA, "kv_cache_gib": 58.11, "max_model_len": 8192, "vllm_version": "0.19"}
    found = answer(case | gpu)
    assert found["kv_cache_tokens"] == pytest.approx(476016, rel=1e-4)
    assert found["max_concurrency"] == pytest.approx(58.11, abs=0.01)
    assert (found["kv_cache_gib"], found["basis"]) == (58.11, "exact")


def test_a_given_kv_cache_that_is_too_small_does_not_fit() -> None:
    assert answer({"config": LLAMA, "kv_cache_gib": 1.0})["fits"] is False


def test_files_sizes_take_the_place_of_ours() -> None:
    found = answer(H100 | {"weights_bytes": 8 << 30, "tp": 2, "n_gpus": 2})
    assert found["weights_gib"] == pytest.approx(4.0, rel=0.01)


def test_more_gpus_than_tensor_parallel_ranks_are_a_pipeline() -> None:
    asked = H100 | {"n_gpus": 2, "pp": None}
    assert answer(asked) == answer(H100 | {"n_gpus": 2, "pp": 2})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tp": 0}, "tp: "),
        ({"gpu_memory_utilization": 95}, "gpu_memory_utilization: "),
        ({"max_model_len": "long"}, "max_model_len: "),
        ({"config": [1]}, "config: "),
        ({"config": LLAMA | {"hidden_size": "wide"}}, "config"),
        ({"config": LLAMA | {"num_hidden_layers": {}}}, ""),
        ({"config": LLAMA | {"num_hidden_layers": 1 << 40}}, "num_hidden_layers"),
        ({"config": {"text_config": {"n_layer": 1 << 40}}}, "n_layer"),
        ({"gpu_mem_gib": -1}, "gpu_mem_gib: "),
        ({"config": {"architectures": ["LlamaForCausalLM"]}}, "lacks"),
    ],
)
def test_a_bad_case_is_an_error_with_its_id(wrong: dict[str, Any], words: str) -> None:
    found = answer(H100 | wrong)
    assert found["id"] == "a start"
    assert words in found["error"]
    assert found["kv_cache_gib"] is None


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 1 << 40), st.floats(), st.text(max_size=4)
)
values = st.recursive(scalars, lambda x: st.lists(x, max_size=2) | st.dictionaries(st.text(), x))


@given(
    case=st.dictionaries(st.sampled_from(sorted(H100)), values, max_size=4),
    config=st.dictionaries(st.sampled_from(sorted(LLAMA)), values, max_size=3),
)
def test_whatever_a_line_holds_it_gets_an_answer(
    case: dict[str, Any], config: dict[str, Any]
) -> None:
    found = answer(H100 | {"config": LLAMA | config} | case)
    assert set(found) - {"error"} == set(KEYS)
    assert json.loads(json.dumps(found)).keys() == found.keys()


def test_bad_lines_do_not_stop_the_others() -> None:
    lines = [json.dumps(H100), "", "{no json", "[1, 2]", json.dumps(H100 | {"tp": -1}), "{}"]
    found = list(answers(lines))
    assert ["error" in each for each in found] == [False, True, True, True, False]
    assert "line 3" in found[1]["error"]
    assert "line 4" in found[2]["error"]
    assert found[3]["id"] == "a start"


def test_given_weights_are_what_files_hold_and_the_rest_comes_on_top() -> None:
    """Rotary tables and the allocator's rounding are in no file."""
    ours = answer(H100)
    raw = tensor_bytes(facts_of(H100["config"]), Settings())[0]
    assert answer(H100 | {"weights_bytes": raw})["weights_gib"] == ours["weights_gib"]
    assert ours["weights_gib"] > raw / GIB
