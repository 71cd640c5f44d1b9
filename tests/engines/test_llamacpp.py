"""The engine around llama.cpp's server, in a process of its own, over a package that plays it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import ReplicaSpec
from engines.llamacpp import EXIT_ENGINE_DEAD, LlamaCppEngine, environment
from tests.engines.lives import TOKEN, lived, program
from tests.engines.specs import spec_of

PROGRAM = program(
    "engines.llamacpp.LlamaCppEngine",
    """
if status.url:
    tell(status.url)
    request = urllib.request.Request(
        status.url + "/given", headers={"Authorization": "Bearer " + spec.token})
    with open_(request) as answer:
        tell(answer.read().decode())
if sys.argv[2:] == ["stay"]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        told, status = status, engine.status()
        if status != told:
            tell(status.state, status.phase, status.url)
        time.sleep(0.002)
if sys.argv[2:] == ["vanish"]:
    os._exit(9)
""",
)
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one engine to its end: exit code, what its owner saw, and its log."""
    log, model = tmp_path / "m-0.log", tmp_path / "m.gguf"

    def start(mode: str, *words: str, cuda: bool = False, **given: Any) -> Any:
        model.write_bytes(b"GGUF" + mode.encode())
        spec = spec_of(
            engine="llamacpp", source=str(model), log_path=str(log), token=TOKEN, **given
        )
        variables = {"FAKE_CUDA": "1"} if cuda else {}
        return lived(PROGRAM, spec, *words, fake="xllamacpp", variables=variables)

    return start


def test_a_life(run: Run) -> None:
    code, told, log = run("works", max_model_len=1000, engine_args={"n_parallel": 8})
    assert told[0].startswith("ready |  |  | 1024 | 8192 | ")  # a slot's context, and all slots'
    assert told[1].startswith("http://127.0.0.1:")
    assert not told[1].endswith(":8080")  # the kernel's choice, reported back
    given = json.loads(told[2])
    assert (given["n_ctx"], given["n_parallel"]) == (8192, 8)
    assert given["model_alias"] == ["m"]
    assert (code, told[-1]) == (0, "stopped")
    assert TOKEN not in log
    assert not psutil.pid_exists(int(told[0].rpartition(" ")[2]))


def test_the_server_ends_with_an_owner_that_vanished(run: Run) -> None:
    code, told, _ = run("works", "vanish")
    assert code == 9
    process = int(told[0].rpartition(" ")[2])
    if psutil.pid_exists(process):
        psutil.wait_procs([psutil.Process(process)], timeout=5)
    assert not psutil.pid_exists(process)


@pytest.mark.parametrize(
    ("mode", "said", "code"),
    [
        ("refuses", "llama.cpp: error loading model: unknown tensor type 77", "engine_load_failed"),
        ("no room", "llama.cpp: failed to allocate CPU buffer", "out_of_memory"),
        ("crashes", "llama.cpp left with exit code -6", "engine_load_failed"),
    ],
)
def test_a_start_that_fails_has_llama_cpps_own_reason(
    run: Run, mode: str, said: str, code: str
) -> None:
    exit_code, told, _ = run(mode)
    assert told[0].startswith(f"failed | {said} | {code} | ")
    assert (exit_code, told[-1]) == (0, "stopped")


def test_slots_that_are_smaller_than_planned_are_a_failure(run: Run) -> None:
    _, told, _ = run("shrinks", max_model_len=2048)
    assert "gave each slot a context of 1024 tokens, 2048 were planned" in told[0]


def test_a_parameter_that_this_version_lacks_is_told(run: Run) -> None:
    _, told, _ = run("works", engine_args={"n_cache_reuse": 256})
    assert "has no parameter 'n_cache_reuse'; install a newer one" in told[0]


def test_a_build_without_gpus_is_refused_where_one_was_planned(run: Run) -> None:
    _, told, _ = run("works", on_cpu=False)
    assert "was built without GPU support" in told[0]
    _, told, _ = run("works", on_cpu=False, cuda=True)
    assert told[0].startswith("ready")
    assert json.loads(told[2])["n_gpu_layers"] == 999


def test_a_dead_server_is_seen_at_once_and_ends_the_process(run: Run) -> None:
    code, told, log = run("dies", "stay")
    assert told[-1] in {"starting | engine died | None", told[2]}
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: llama.cpp has died with exit code -6; leaving" in log


def test_a_frozen_server_ends_the_process(run: Run) -> None:
    code, _, log = run("freezes", "stay", stall_timeout_s=0.5)
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: llama.cpp did not react for 0.5 s; leaving" in log


def test_a_load_that_never_ends_ends_the_process(run: Run) -> None:
    code, _, log = run("never ends", load_timeout_s=1)
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: not ready within load_timeout (1 s); leaving" in log


def test_no_server_starts_once_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while it waited for room, say; nobody would end that server."""
    engine = LlamaCppEngine(ReplicaSpec(**spec_of(log_path=str(tmp_path / "log"))))
    monkeypatch.setattr(engine, "_wait_for_room", engine.stop)
    monkeypatch.setattr(engine, "_spawn", lambda: pytest.fail("a server was started"))
    engine._run()
    assert engine.status().state == "loading"


def test_only_the_planned_gpus_are_seen() -> None:
    assert environment(ReplicaSpec(**spec_of()))["CUDA_VISIBLE_DEVICES"] == ""
    two = ReplicaSpec(**spec_of(gpu_ids=("2", "3")))
    assert environment(two)["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert os.environ.get("CUDA_DEVICE_ORDER") is None
