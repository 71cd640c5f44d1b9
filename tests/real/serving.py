"""A real `roundhouse serve` as a process of its own, with sight of everything that it starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2 as httpx
import psutil
import yaml

KEY = "sk-for-the-tests"
CHECKOUT = Path(__file__).resolve().parents[2]
SMALL_KV_BYTES = 64 << 20
_READY_TIMEOUT_S = 300.0
_GONE_TIMEOUT_S = 30.0
Row = dict[str, Any]
Completed = subprocess.CompletedProcess[str]


class RunningServer:
    """`with RunningServer(config, folder) as server:`; on leaving, nothing of it is left.

    `module` is run in place of the command, with `variables` added to its environment.
    """

    def __init__(
        self,
        config: dict[str, Any],
        folder: Path,
        *,
        module: str = "cli.main",
        variables: dict[str, str] | None = None,
    ) -> None:
        self._module, self._variables = module, variables or {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = folder / "state"
        self.file = folder / "roundhouse.yaml"
        server = {"port": self.port, "api_keys": [KEY], **config.get("server", {})}
        self.file.write_text(yaml.safe_dump({"version": 1, **config, "server": server}))
        self._output = folder / "output.log"
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {KEY}"},
            timeout=60,
            trust_env=False,
        )

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self._module, "serve", "--config", str(self.file)]

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.state) | self._variables

    def start(self) -> Self:
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def run(self, *arguments: str, timeout_s: float = 60) -> Completed:
        """Another `roundhouse` command, of the same user so to say, to its end."""
        return run(*arguments, env=self.environment, timeout_s=timeout_s)

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> Self:
        """Until every replica is up."""
        wait_for(self._is_settled, timeout_s, "all replicas ready", self.tail)
        return self

    def _is_settled(self) -> bool:
        assert self.process.poll() is None, f"serve ended: {self.process.returncode}\n{self.tail()}"
        return bool(self.admin().get("settled"))

    def admin(self) -> dict[str, Any]:
        """The router's view of its replicas; empty while it does not answer."""
        try:
            answer = self.get("/admin/replicas", timeout=5)
        except httpx.HTTPError:
            return {}
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def rows(self) -> dict[str, Row]:
        return {row["id"]: row for row in self.admin().get("replicas", ())}

    def post(self, path: str, body: dict[str, Any], **options: Any) -> httpx.Response:
        return self._http.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._http.get(path, **options)

    @property
    def instance_file(self) -> Path:
        return self.state / "roundhouse" / "instances" / f"{self.port}.json"

    @property
    def token(self) -> str:
        return str(json.loads(self.instance_file.read_text())["token"])

    def processes(self) -> list[psutil.Process]:
        return processes(self.state)

    def stop(self, timeout_s: float = 60) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the command alone: the rest has to notice by itself."""
        self.process.kill()
        self.process.wait()

    def wait_gone(self, timeout_s: float = _GONE_TIMEOUT_S) -> float:
        return wait_gone(self.state, timeout_s)

    def tail(self, lines: int = 20) -> str:
        """The last lines of the command's output and of every log."""
        logs = sorted((self.state / "roundhouse" / "logs").glob("*/*.log"))
        return "\n".join(
            f"==> {file.name} <==\n"
            + "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
            for file in (self._output, *logs)
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        self.kill()
        self.wait_gone()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


def environment(state: Path) -> dict[str, str]:
    """The caller's, without its settings of Roundhouse, and with a state directory of its own.

    It is handed down to every process that a server starts, which is how they are found.
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith(("ROUNDHOUSE_", "RAY_"))}
    return own | {"XDG_STATE_HOME": str(state), "NO_COLOR": "1"}


def run(*arguments: str, env: dict[str, str], timeout_s: float = 60) -> Completed:
    return subprocess.run(
        command(*arguments),
        cwd=CHECKOUT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def processes(state: Path) -> list[psutil.Process]:
    """All that live and came out of a command with this state directory."""
    return list(_with_environment("XDG_STATE_HOME", str(state)))


def wait_gone(state: Path, timeout_s: float = _GONE_TIMEOUT_S) -> float:
    """Seconds until no process of it lives. Whatever outlives the time is ended, and told."""
    try:
        return wait_for(
            lambda: not processes(state), timeout_s, "end of every process", lambda: _told(state)
        )
    finally:
        for process in processes(state):
            process.kill()


def wait_for(
    condition: Callable[[], object],
    timeout_s: float,
    what: str,
    explain: Callable[[], str] = lambda: "",
) -> float:
    """Seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout_s, f"no {what} within {timeout_s:g} s\n{explain()}"
        time.sleep(0.1)
    return time.monotonic() - began


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def small(folder: Path) -> dict[str, Any]:
    """The config of a tiny model."""
    return {
        "source": str(folder),
        "dtype": "float32",
        "engine_args": {"kv_cache_memory_bytes": SMALL_KV_BYTES},
    }


def _with_environment(name: str, value: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or not ours


def _told(state: Path) -> str:
    return "\n".join(str(p.as_dict(["pid", "ppid", "cmdline"])) for p in processes(state))
