"""Parameters of llama.cpp's server, and the check of `engine_args`."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, StartError
from engines.base import ReplicaSpec
from engines.llamacpp_args import DEFAULT_SLOTS, check, parameters, require_installed
from tests.engines.specs import spec_of


def spec(**given: Any) -> ReplicaSpec:
    return ReplicaSpec(**spec_of(**given))


@given(slots=st.integers(1, 64), length=st.integers(1, 200_000))
def test_every_slot_holds_a_whole_request(slots: int, length: int) -> None:
    told = parameters(spec(max_model_len=length, engine_args={"n_parallel": slots}))
    each, rest = divmod(told["n_ctx"], told["n_parallel"])
    assert (told["n_parallel"], rest) == (slots, 0)
    assert length <= each < length + 256
    assert each % 256 == 0  # else llama.cpp would round it
    assert told["kv_unified"] is False
    assert told["n_threads_http"] > slots


def test_the_cpu_holds_no_layer_of_a_gpu_and_a_gpu_all() -> None:
    assert parameters(spec())["n_gpu_layers"] == 0
    assert parameters(spec(on_cpu=False, gpu_ids=("0",)))["n_gpu_layers"] == 999
    asked = spec(on_cpu=False, engine_args={"n_gpu_layers": 12})
    assert parameters(asked)["n_gpu_layers"] == 12


def test_threads_are_the_cores_of_the_plan() -> None:
    assert "cpuparams.n_threads" not in parameters(spec())
    told = parameters(spec(cpu_ids=((2, 3, 4),)))
    assert (told["cpuparams.n_threads"], told["cpuparams_batch.n_threads"]) == (3, 3)
    asked = spec(cpu_ids=((2, 3, 4),), engine_args={"n_threads": 2})
    assert parameters(asked)["cpuparams.n_threads"] == 2


def test_without_cores_of_its_own_its_threads_are_a_share_of_them() -> None:
    told = parameters(spec(on_cpu=False, gpu_ids=("0",), n_threads=5))
    assert (told["cpuparams.n_threads"], told["cpuparams_batch.n_threads"]) == (5, 5)
    own = {"n_threads": 8, "n_threads_batch": 16}
    told = parameters(spec(on_cpu=False, gpu_ids=("0",), n_threads=5, engine_args=own))
    assert (told["cpuparams.n_threads"], told["cpuparams_batch.n_threads"]) == (8, 16)
    assert parameters(spec(cpu_ids=((1, 2),), n_threads=5))["cpuparams.n_threads"] == 2


def test_it_listens_on_loopback_with_the_replicas_token() -> None:
    told = parameters(spec(token="secret-token"))
    assert (told["hostnames"], told["port"]) == (["127.0.0.1"], 0)
    assert set(told["api_keys"]) == {"secret-token"}
    assert len(told["api_keys"]) > 1  # of a lone key llama.cpp logs the end
    assert (told["endpoint_slots"], told["ui"]) == (False, False)
    assert parameters(spec())["n_parallel"] == DEFAULT_SLOTS
    assert told["model_alias"] == {"m"}


def test_what_is_known_passes() -> None:
    check("m", {"n_parallel": 8, "n_batch": 512, "warmup": False, "slot_prompt_similarity": 0})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_paralel": 8}, "is no argument of engine llamacpp; did you mean 'n_parallel'"),
        ({"zzz": 8}, "is no argument of engine llamacpp; there are: .*n_parallel"),
        ({"n_ctx": 8192}, "is set by Roundhouse; use max_model_len, which every slot gets"),
        ({"port": 1}, "is set by Roundhouse; use server.port"),
        ({"n_parallel": "many"}, "'many' is no int"),
        ({"n_parallel": True}, "True is no int"),
        ({"warmup": 1}, "1 is no bool"),
        ({"n_parallel": 0}, "n_parallel: must be 1 or more, not 0"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^models\.m\.engine_args\.\w+: {said}|{said}"):
        check("m", arguments)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StartError, match="xllamacpp, which is not installed: `make setup ENGINE="):
        require_installed()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    require_installed()
