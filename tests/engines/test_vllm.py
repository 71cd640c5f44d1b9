"""The engine around vLLM's server, in a process of its own, over a package that plays vLLM."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.base import ReplicaSpec
from engines.vllm import EXIT_ENGINE_DEAD, environment
from engines.vllm_args import known_names

ROOT = Path(__file__).resolve().parents[2]

# `--model` says how it behaves.
ENTRY = """
import asyncio, os, sys
from contextlib import asynccontextmanager

class Client:
    class model_config:
        max_model_len = 4096

    class vllm_config:
        class cache_config:
            enable_prefix_caching = True
            kv_cache_size_tokens = 65536

    def __init__(self, mode):
        self.mode, self.errored, self.deaf = mode, False, False
        if mode == "counts":
            count()
        if mode == "dies":
            asyncio.get_running_loop().call_later(0.1, setattr, self, "errored", True)

    async def is_sleeping(self):
        while self.mode == "freezes" or self.deaf:
            await asyncio.sleep(0.01)

    async def sleep(self, level):
        await self.turn(f"sleep {level}")

    async def wake_up(self, tags=None):
        await self.turn(f"wake {tags}")

    async def collective_rpc(self, method):
        await self.turn(method)

    async def turn(self, name):
        self.deaf = True
        await asyncio.sleep(0.5)
        self.deaf = False
        print("core:", name, flush=True)

    async def get_supported_tasks(self):
        return ("generate",)

def count():
    from prometheus_client import Counter
    for name, counted in (("queries", 300), ("hits", 120)):
        counter = Counter("vllm:prefix_cache_" + name, "In tokens.", ("engine",))
        for core in ("0", "1"):
            counter.labels(core).inc(counted)

@asynccontextmanager
async def build_async_engine_client(args):
    print("Starting to load model", flush=True)
    if args.model == "refuses":
        raise ValueError("no such weights")
    if args.model == "fails":
        print("(EngineCore pid=9) ERROR [core.py:1] torch.OutOfMemoryError: CUDA out of memory.")
        sys.stdout.flush()
        raise RuntimeError("Engine core initialization failed. See root cause above.")
    if args.model == "never ends":
        await asyncio.sleep(60)
    yield Client(args.model)
    print("client closed", flush=True)
"""
APP = '''
class App:
    """ASGI, with lifespan."""
    class state: pass

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("app closed", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(self.state.tasks).encode()})

def build_app(args, tasks, model_config): return App()
'''
FILES = {
    "__init__.py": "",
    "utils/__init__.py": "",
    "utils/argparse_utils.py": (
        "import argparse\nclass FlexibleArgumentParser(argparse.ArgumentParser): pass\n"
    ),
    "entrypoints/__init__.py": "",
    "entrypoints/launchers/__init__.py": "",
    "entrypoints/launchers/api_server/__init__.py": "",
    "entrypoints/launchers/api_server/entry.py": ENTRY,
    "entrypoints/launchers/app.py": APP,
    "entrypoints/launchers/api_server/app_state.py": (
        "async def init_app_state(client, state, args, tasks): state.tasks = tasks\n"
    ),
    "entrypoints/launchers/cli_args.py": f"""
def make_arg_parser(parser):
    parser.add_argument("--model")
    for name in {sorted(known_names() - {"model"})}:
        parser.add_argument("--" + name.replace("_", "-"), nargs="*")
    return parser
def validate_parsed_serve_args(args): pass
""",
}
PROGRAM = """
import json, os, sys, time, urllib.request
from pathlib import Path
from common.logs import redirect_output
from engines.base import ReplicaSpec
from engines.vllm import VllmEngine

out = os.fdopen(os.dup(1), "w")
spec = ReplicaSpec(**json.loads(sys.argv[1]))
redirect_output(Path(spec.log_path))
engine = VllmEngine(spec)
engine.start()
last = None
while last not in ("ready", "failed"):
    status = engine.status()
    if (status.state, status.phase) != last:
        print(status.state, "|", status.phase, "|", status.error or "", "|",
              status.error_code or "", "|", status.max_model_len or "", file=out, flush=True)
    last = status.state if status.state in ("ready", "failed") else (status.state, status.phase)
    time.sleep(0.002)
if status.state == "ready":
    print("cache:", status.kv_tokens, status.prefix_queries, status.prefix_hits, file=out)
if status.url:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(status.url) as answer:
        print(answer.read().decode(), status.pid == os.getpid(), file=out, flush=True)
for level in map(int, sys.argv[2:] if sys.argv[2:] != ["stay"] else ()):
    engine.sleep(level)
    print(engine.status().state, "|", engine.status().phase, file=out)
    engine.wake()
    engine.wake()
    print(engine.status().state, engine.status().url == status.url, file=out, flush=True)
if sys.argv[2:] == ["stay"]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        told, status = status, engine.status()
        if status != told:
            print(status.state, "|", status.phase, "|", status.url, file=out, flush=True)
        time.sleep(0.002)
engine.stop()
print("stopped", file=out, flush=True)
"""
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one engine to its end: exit code, what its owner saw, and its log."""
    for name, text in FILES.items():
        file = tmp_path / "site" / "vllm" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    log = tmp_path / "m-0.log"

    def start(mode: str, *words: str, **spec: Any) -> tuple[int, list[str], str]:
        given = {
            "id": "m-0",
            "model": "m",
            "engine": "vllm",
            "source": mode,
            "served_names": ["m"],
            "log_path": str(log),
            "load_timeout_s": 30,
            "stall_timeout_s": 30,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(given | spec), *words],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}", "PATH": ""},
            timeout=60,
        )
        return done.returncode, done.stdout.splitlines(), log.read_text() + done.stderr

    return start


def test_a_life(run: Run) -> None:
    code, told, log = run("works")
    assert told[0] == "loading | importing vLLM |  |  | "
    assert told[-4] == "ready |  |  |  | 4096"
    assert told[-2:] == ["('generate',) True", "stopped"]
    assert (code, log.splitlines()[-2:]) == (0, ["app closed", "client closed"])


@pytest.mark.parametrize(("mode", "counted"), [("counts", "600 240"), ("works", "None None")])
def test_a_ready_engine_tells_what_its_prefix_cache_holds_and_counted(
    run: Run, mode: str, counted: str
) -> None:
    _, told, _ = run(mode)
    assert told[-3] == f"cache: 65536 {counted}"


def test_a_start_that_fails_has_the_cores_own_reason(run: Run) -> None:
    code, told, _ = run("fails")
    assert told[-2] == (
        "failed |  | torch.OutOfMemoryError: CUDA out of memory. | out_of_memory | "
    )
    assert (code, told[-1]) == (0, "stopped")


def test_a_start_that_is_refused_has_that_reason(run: Run) -> None:
    _, told, _ = run("refuses")
    assert told[-2] == "failed |  | ValueError: no such weights | engine_load_failed | "


def test_arguments_that_vllm_refuses_are_told(run: Run) -> None:
    _, told, _ = run("works", engine_args={"no_such_thing": 1})
    assert told[-2].startswith("failed |  | EngineLoadError: vLLM refuses its arguments: ")
    assert "--no-such-thing=1" in told[-2]


def test_a_dead_core_is_seen_at_once_and_ends_the_process(run: Run) -> None:
    code, told, log = run("dies", "stay")
    assert told[-1] == "starting | engine died | None"
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: engine core is dead; leaving so that the replica is restarted" in log


def test_a_frozen_core_ends_the_process(run: Run) -> None:
    code, _, log = run("freezes", "stay", stall_timeout_s=0.2)
    assert code == EXIT_ENGINE_DEAD
    assert "roundhouse: engine core did not react for 0.2 s; leaving" in log


def test_it_sleeps_and_wakes_and_is_not_taken_for_frozen(run: Run) -> None:
    code, told, log = run("works", "1", "2", stall_timeout_s=0.2)
    assert told[-5:-1] == [
        "cold | asleep, level 1",
        "ready True",
        "cold | asleep, level 2",
        "ready True",
    ]
    assert [line.removeprefix("core: ") for line in log.splitlines() if "core: " in line] == [
        "sleep 1",
        "wake None",
        "sleep 2",
        "wake ['weights']",
        "reload_weights",
        "wake ['kv_cache']",
    ]
    assert (code, told[-1]) == (0, "stopped")


def test_a_load_that_never_ends_ends_the_process(run: Run) -> None:
    code, told, log = run("never ends", load_timeout_s=1.5)
    assert code == EXIT_ENGINE_DEAD
    assert told[-1] == "loading | loading weights |  |  | "
    assert "roundhouse: not ready within load_timeout (1.5 s); leaving" in log


def test_a_local_model_needs_no_hub(tmp_path: Path) -> None:
    spec = ReplicaSpec(
        id="m-0",
        model="m",
        engine="vllm",
        source=str(tmp_path),
        served_names=("m",),
        log_path="",
        load_timeout_s=1,
        stall_timeout_s=1,
    )
    assert environment(spec)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in environment(replace(spec, source="owner/name"))
    assert environment(spec)["VLLM_NO_USAGE_STATS"] == "1"
