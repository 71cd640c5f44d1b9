"""The engine around mlx_lm.server, in a process of its own, over a package that plays it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.child import EXIT_ENGINE_DEAD
from engines.mlx import cause
from tests.engines.lives import TOKEN, lived, program
from tests.engines.specs import spec_of

PROGRAM = program(
    "engines.mlx.MlxEngine",
    """
for asked in json.loads(sys.argv[2]):
    request = urllib.request.Request(status.url + asked["path"], headers={
        "Authorization": "Bearer " + asked.get("token", spec.token)})
    if "body" in asked:
        request.data = json.dumps(asked["body"]).encode()
    try:
        with open_(request) as answer:
            tell(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        tell(error.code, error.read().decode())
if sys.argv[3:] == ["stay"]:
    time.sleep(10)
if sys.argv[3:] == ["counted"]:
    while not engine.status().prefix_queries:
        time.sleep(0.05)
    tell(engine.status().prefix_queries, engine.status().prefix_hits)
""",
)
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one engine to its end: exit code, what its owner saw, and its log."""
    log = tmp_path / "m-0.log"

    def start(
        mode: str,
        *asked: dict[str, Any],
        then: str = "",
        variables: dict[str, str] | None = None,
        **given: Any,
    ) -> Any:
        (tmp_path / "mode").write_text(mode)
        spec = spec_of(engine="mlx", source=str(tmp_path), log_path=str(log), token=TOKEN, **given)
        return lived(PROGRAM, spec, json.dumps(asked), then, fake="mlx", variables=variables or {})

    return start


def text(prompt: str, **fields: Any) -> dict[str, Any]:
    return {"path": "/v1/completions", "body": {"prompt": prompt, **fields}}


def test_a_life(run: Run) -> None:
    code, told, log = run(
        "works",
        text("one two three", model="alias"),
        then="counted",
        max_model_len=1000,
        kv_cache_bytes=6000,
        engine_args={"decode_concurrency": 4},
    )
    assert told[0].startswith("ready |  |  | 1000 | 2000 | ")  # the cache keeps two contexts
    answer = json.loads(told[1].removeprefix("200 | "))
    assert (answer["model"], answer["text"]) == ("m", "one two three")
    assert answer["arguments"]["decode_concurrency"] == 4
    assert answer["arguments"]["prompt_cache_bytes"] == 2000
    assert answer["arguments"]["max_tokens"] == 1000
    assert answer["device"] == "cpu"
    assert told[2] == "4 | 0"  # the warm-up's word too
    assert (code, told[-1]) == (0, "stopped")
    assert TOKEN not in log
    assert not psutil.pid_exists(int(told[0].rpartition(" ")[2]))


def test_only_who_has_the_token_is_answered(run: Run) -> None:
    _, told, _ = run("works", {**text("one"), "token": "another"}, {"path": "/health", "token": ""})
    assert told[1].startswith("401 | ")
    assert json.loads(told[1][6:])["error"]["code"] == "invalid_api_key"
    assert told[2].startswith("200")


def test_the_context_bounds_prompt_and_answer(run: Run) -> None:
    _, told, _ = run(
        "works", text("a b c d e"), text("a b c d e f"), text("a b c d"), max_model_len=5
    )
    assert told[1].startswith("400 | ")  # no room for an answer
    assert json.loads(told[2][6:])["error"]["code"] == "context_length_exceeded"
    assert json.loads(told[3][6:])["text"] == "a"  # one token of answer, not more


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"path": "/v1/responses", "body": {}}, 501, "engine mlx has no route /v1/responses"),
        ({"path": "/v1/models"}, 501, "engine mlx has no route GET /v1/models"),
        (text("one", max_tokens="many"), 400, "max_tokens must be of type int"),
        (text("one", n=2), 400, "n: must be 1"),
        (text("breaks"), 400, "KeyError: 'role'"),
    ],
)
def test_errors_have_openais_shape(run: Run, asked: dict[str, Any], status: int, said: str) -> None:
    _, told, _ = run("works", asked)
    assert told[1].startswith(f"{status} | ")
    error = json.loads(told[1][6:])["error"]
    assert said in error["message"]
    assert error["type"] == ("invalid_request_error" if status < 500 else "server_error")


@pytest.mark.parametrize(
    ("mode", "said", "code"),
    [
        ("refuses", "ValueError: Model type nonesuch not supported.", "engine_load_failed"),
        ("no room", "[metal::malloc] Attempting to allocate", "out_of_memory"),
    ],
)
def test_a_start_that_fails_has_mlxs_own_reason(run: Run, mode: str, said: str, code: str) -> None:
    exit_code, told, _ = run(mode)
    assert told[0].startswith("failed | ")
    assert said in told[0]
    assert f" | {code} | " in told[0]
    assert (exit_code, told[-1]) == (0, "stopped")


def test_an_argument_that_its_parser_refuses_is_told(run: Run) -> None:
    _, told, _ = run("works", engine_args={"kv_bits": 4})
    assert told[0].startswith("failed | mlx_lm.server: unrecognized arguments: --kv-bits=4")


def test_another_version_is_told(run: Run) -> None:
    _, told, _ = run("works", variables={"FAKE_OLD": "1"})
    assert "this mlx-lm has no ResponseGenerator._tokenize; install mlx-lm 0.32" in told[0]


def test_a_build_without_gpus_is_refused_where_one_was_planned(run: Run) -> None:
    _, told, _ = run("works", on_cpu=False)
    assert "this MLX was built without GPU support" in told[0]
    _, told, _ = run("works", text("one"), on_cpu=False, variables={"FAKE_METAL": "1"})
    assert told[0].startswith("ready")
    assert json.loads(told[1][6:])["device"] == "gpu"


def test_a_generation_thread_that_died_ends_the_process(run: Run) -> None:
    """Its server would go on, and answer every request with an error."""
    code, _, log = run("dies", then="stay")
    assert code == EXIT_ENGINE_DEAD
    assert "generation thread died: Insufficient Memory" in log
    assert "roundhouse: mlx_lm.server has died with exit code 1; leaving" in log


def test_a_frozen_server_ends_the_process(run: Run) -> None:
    code, _, log = run("freezes", then="stay", stall_timeout_s=0.5)
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: mlx_lm.server did not react for 0.5 s; leaving" in log


def test_a_load_that_never_ends_ends_the_process(run: Run) -> None:
    code, _, log = run("never ends", load_timeout_s=1)
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: not ready within load_timeout (1 s); leaving" in log


@pytest.mark.parametrize(
    ("text", "own", "message", "out_of_memory"),
    [
        ("", "ValueError: no", "ValueError: no", False),
        ("mlx_lm.server: error: argument --temp: x", "no", "mlx_lm.server: argument --temp", False),
        ("", "mlx_lm.server left with exit code -9", "exit code -9", True),
        ("", "RuntimeError: [METAL] Insufficient Memory (0000)", "Insufficient Memory", True),
    ],
)
def test_the_cause(text: str, own: str, message: str, out_of_memory: bool) -> None:
    found = cause(text, own)
    assert message in found.message
    assert found.out_of_memory is out_of_memory
