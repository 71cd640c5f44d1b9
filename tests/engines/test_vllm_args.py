"""From a spec to vLLM's command line, and the check of names without vLLM."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from common.errors import ConfigError
from engines.base import ReplicaSpec
from engines.vllm import environment
from engines.vllm_args import _OURS, check, command_line, known_names

SPEC = ReplicaSpec(
    id="m-0",
    model="m",
    engine="vllm",
    source="/models/m",
    served_names=("m", "alias"),
    log_path="/dev/null",
    load_timeout_s=60,
    stall_timeout_s=60,
)


def line(**changes: Any) -> str:
    return " ".join(command_line(replace(SPEC, **changes)))


def test_every_name_that_vllm_takes_is_known() -> None:
    names = known_names()
    assert {"enable_prefix_caching", "max_num_seqs", "tool_call_parser", "chat_template"} <= names
    assert len(names) > 150


def test_names_are_checked_without_importing_vllm() -> None:
    program = (
        "import sys; from engines.vllm_args import known_names; "
        "assert known_names(); print('vllm' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert told.stdout.strip() == "False", told.stderr


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        check("m", {"enable_prefix_cache": True})
    message = caught.value.message
    assert message.startswith("models.m.engine_args.enable_prefix_cache: vLLM has no such argument")
    assert "'enable_prefix_caching'" in message


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("tensor_parallel_size", "placement.tp"),
        ("port", "server.port"),
        ("api_key", "server.api_keys"),
        ("model", "source"),
    ],
)
def test_what_roundhouse_sets_is_refused_with_the_place_to_say_it(name: str, instead: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: is set by Roundhouse; use {instead}"):
        check("m", {name: 1})


def test_a_spec_as_arguments() -> None:
    told = line(tp=2, max_model_len=2048, token="t0ken", kv_cache_bytes=1 << 30)
    assert "--model=/models/m --served-model-name m alias" in told
    assert "--tensor-parallel-size=2" in told
    assert "--distributed-executor-backend=mp" in told
    assert "--max-model-len=2048" in told
    assert "--kv-cache-memory-bytes=1073741824" in told
    assert "--api-key=t0ken" in told


def test_a_value_may_begin_with_a_dash() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-key", nargs="*")
    arguments = [word for word in command_line(replace(SPEC, token="-t0ken")) if "key" in word]
    assert parser.parse_args(arguments).api_key == ["-t0ken"]


def test_a_cpu_runs_eagerly_unless_the_user_says_otherwise() -> None:
    assert "--enforce-eager" in line()
    assert "--enforce-eager" not in line(on_cpu=False)
    told = line(engine_args={"enforce_eager": False})
    assert "--no-enforce-eager" in told
    assert "--enforce-eager" not in told.split()


def test_values_of_every_kind() -> None:
    told = command_line(
        replace(SPEC, engine_args={"a_b": True, "c": [1, 2], "d": {"x": 1}, "e": None, "f": "y"})
    )
    assert "--a-b" in told
    at = told.index("--c")
    assert told[at : at + 3] == ["--c", "1", "2"]
    assert told[told.index("--d") + 1] == '{"x": 1}'
    assert "--e" not in told
    assert "--f=y" in told


def test_the_token_is_not_in_what_a_spec_prints() -> None:
    assert "t0ken" not in repr(replace(SPEC, token="t0ken"))


def test_the_environment_binds_cores_and_gpus() -> None:
    told = environment(replace(SPEC, cpu_ids=((0, 1), (2,)), gpu_ids=("3", "1")))
    assert told["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2"
    assert told["CUDA_VISIBLE_DEVICES"] == "3,1"
    assert "CUDA_VISIBLE_DEVICES" not in environment(SPEC)


def test_without_vllm_nothing_is_known_and_only_ours_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engines.vllm_args.known_names", frozenset)
    check("m", {"anything_at_all": 1})
    with pytest.raises(ConfigError, match=r"models\.m\.engine_args\.model: is set by Roundhouse"):
        check("m", {"model": "x"})


def test_every_name_of_ours_is_one_of_vllms() -> None:
    """So that a name which vLLM drops does not stay refused for ever."""
    assert set(_OURS) <= known_names()


def test_names_with_dashes_are_near_those_with_underlines() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'max_num_seqs'"):
        check("m", {"max-num-seqs": 4})


def test_the_users_arguments_win_and_stand_once() -> None:
    told = command_line(
        replace(SPEC, kv_cache_bytes=5, engine_args={"kv_cache_memory_bytes": 7, "seed": -1})
    )
    assert [word for word in told if word.startswith("--kv-cache")] == ["--kv-cache-memory-bytes=7"]
    assert "--seed=-1" in told


def test_nothing_is_said_that_was_not_asked_for() -> None:
    flags = {word.partition("=")[0] for word in command_line(SPEC) if word.startswith("--")}
    assert flags == {
        "--model",
        "--served-model-name",
        "--tensor-parallel-size",
        "--pipeline-parallel-size",
        "--dtype",
        "--disable-uvicorn-access-log",
        "--enforce-eager",
        "--shutdown-timeout",
    }


def test_every_flag_of_ours_is_one_of_vllms() -> None:
    everything = replace(
        SPEC,
        tp=2,
        token="t",
        kv_cache_bytes=1,
        max_model_len=1,
        quantization="fp8",
        engine_args={"gpu_memory_utilization": 0.5},
    )
    flags = {w.partition("=")[0] for w in command_line(everything) if w.startswith("--")}
    assert {flag[2:].replace("-", "_") for flag in flags} <= known_names()
