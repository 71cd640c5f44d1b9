"""What can be measured against what: the bare engines, Roundhouse and vllm-router."""

import json
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import ROOT
from benchmarks.processes import Server, free_port

API_KEY: Final = "sk-bench"
VLLM_ROUTER: Final = "vllm-router==0.1.17"
VLLM_ROUTER_VENV: Final = ROOT / ".venv-vllm-router"
INSTALL_TIMEOUT_S: Final = 300.0
FAKE_PROGRAM: Final = ROOT / "tests" / "fakes" / "engine.py"

# Said to both engines alike; both are up at the same time, so neither may take all memory.
MAX_MODEL_LEN: Final = 2048
DTYPE: Final = "bfloat16"
CPU_ENGINE_ARGS: Final = {"kv_cache_memory_bytes": 2**30, "enforce_eager": True}
GPU_ENGINE_ARGS: Final = {"gpu_memory_utilization": 0.4}
# What Roundhouse gives its engine without being told (engines/vllm_args.py and engines/vllm.py).
VLLM_DEFAULTS: Final = ("--disable-uvicorn-access-log",)
VLLM_ENV: Final = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


class UnavailableError(Exception):
    """A target cannot be measured here; the message gives the reason."""


@dataclass(frozen=True)
class Target:
    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


def target(server: Server) -> Target:
    headers = {"authorization": f"Bearer {API_KEY}"} if server.name == "roundhouse" else {}
    return Target(server.name, server.url, headers)


def bare_vllm(folder: Path, model: str, logs: Path, *, gpus: bool) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder), "--served-model-name", model, *VLLM_DEFAULTS]
    command += [f"--max-model-len={MAX_MODEL_LEN}", f"--dtype={DTYPE}", *flags(gpus=gpus)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    url, log = f"http://127.0.0.1:{port}", logs / f"bare-vllm-{port}.log"
    return Server("bare", command, url, log, env=VLLM_ENV, timeout_s=600.0)


def engine_args(*, gpus: bool) -> dict[str, Any]:
    return dict(GPU_ENGINE_ARGS if gpus else CPU_ENGINE_ARGS)


def flags(*, gpus: bool) -> list[str]:
    named = {f"--{key.replace('_', '-')}": v for key, v in engine_args(gpus=gpus).items()}
    return [name if value is True else f"{name}={value}" for name, value in named.items()]


def fake_engine(model: str, logs: Path, *others: str) -> Server:
    """It answers to the names of `others` too."""
    port = free_port()
    # One token a write: engines step through a batch, so tokens of one stream come one by one.
    options = ["--port", str(port), "--burst", "1"]
    options += [word for name in (model, *others) for word in ("--model", name)]
    command = [sys.executable, str(FAKE_PROGRAM), *options]
    return Server("bare", command, f"http://127.0.0.1:{port}", logs / "fake-engine.log")


def roundhouse(models: dict[str, Any], logs: Path, **sections: dict[str, Any]) -> Server:
    """`sections` are other parts of its config, such as `router`."""
    port = free_port()
    server = {"host": "127.0.0.1", "port": port, "api_keys": [API_KEY]}
    config = logs / f"roundhouse-{port}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    whole = {"version": 1, "server": server, "models": models, **sections}
    config.write_text(json.dumps(whole, indent=2))  # JSON is YAML
    command = [sys.executable, "-m", "cli.main", "serve", "--config", str(config)]
    url, log = f"http://127.0.0.1:{port}", logs / f"roundhouse-{port}.log"
    return Server("roundhouse", command, url, log, ready_path="/ready", timeout_s=600.0)


def vllm_model(source: str, *, gpus: bool) -> dict[str, Any]:
    return {
        "source": source,
        "engine": "vllm",
        "max_model_len": MAX_MODEL_LEN,
        "dtype": DTYPE,
        "engine_args": engine_args(gpus=gpus),
    }


def remote_model(url: str) -> dict[str, Any]:
    return {"source": url, "engine": "openai"}


def vllm_router(policy: str, worker_url: str, logs: Path) -> Server:
    """It asks nothing of its workers but `/health`; its default metrics port is a fixed one."""
    port, name = free_port(), f"vllm-router {policy}"
    command = [str(install_vllm_router()), "--worker-urls", worker_url, "--policy", policy]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())]
    log = logs / f"vllm-router-{policy}.log"
    return Server(name, command, f"http://127.0.0.1:{port}", log, timeout_s=60.0)


def install_vllm_router() -> Path:
    """Into a venv of its own, once; raises UnavailableError where it does not install."""
    program = VLLM_ROUTER_VENV / "bin" / "vllm-router"
    if program.exists():
        return program
    print(f"installing {VLLM_ROUTER} into {VLLM_ROUTER_VENV.name} ...", file=sys.stderr, flush=True)
    venv.create(VLLM_ROUTER_VENV, with_pip=True)
    command = [str(VLLM_ROUTER_VENV / "bin" / "pip"), "install", "--quiet", VLLM_ROUTER]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:]
        raise UnavailableError(f"{VLLM_ROUTER} does not install: {' '.join(reason)}") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{VLLM_ROUTER} did not install in time") from error
    return program
