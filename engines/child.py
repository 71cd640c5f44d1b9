"""An engine whose server is a child process: started, watched and ended from here.

A dead or frozen server takes the replica's process with it, as engines/vllm.py does and for the
same reason: Ray Serve restarts a replica whose process has gone at once. The child's side is
child_server.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.errors import EngineLoadError, OutOfMemoryError
from engines.base import EngineStatus, ReplicaSpec, State
from engines.prompt_counts import prompt_tokens
from engines.room import wait_for_room
from engines.startup_log import Cause, StartupLog
from placement.inventory import nvml

EXIT_ENGINE_DEAD = 70
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy
_CHECKOUT = Path(__file__).resolve().parent.parent
_WATCH_PERIOD_S = 0.25
_STOP_TIMEOUT_S = 10.0
_COUNT_PERIOD_S = 1.0
_COUNT_TIMEOUT_S = 2.0


class ChildEngine:
    """See engines.base.Engine. A subclass says which server it is, and what that is asked."""

    title: str  # as people call it
    module: str  # that the child runs

    def __init__(self, spec: ReplicaSpec) -> None:
        self._spec = spec
        self._log = StartupLog(Path(spec.log_path))
        self._status = EngineStatus(State.LOADING, f"starting {self.title}", pid=os.getpid())
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()

    # What a subclass says.

    def _asked(self) -> dict[str, Any]:
        """What the child is told, as JSON."""
        return asdict(self._spec)

    def _cause(self, text: str, own: str) -> Cause:
        """Why a start has failed: by what was logged since, and what the child said at its end."""
        return Cause(own, out_of_memory=own.startswith("MemoryError"))

    def _of_ready(self, url: str) -> dict[str, Any]:
        """Fields of EngineStatus that are known once the server answers."""
        return {"max_model_len": self._spec.max_model_len}

    # What it is to everybody else.

    def start(self) -> None:
        self._status = replace(self._status, started_at=time.time())
        threading.Thread(target=self._run, name=self.title, daemon=True).start()
        threading.Thread(target=self._give_up_late, name="load-timeout", daemon=True).start()

    def status(self) -> EngineStatus:
        status, process = self._status, self._process
        if status.state is State.READY and process is not None and process.poll() is not None:
            return replace(status, state=State.STARTING, phase="engine died", url=None)
        return status

    def stop(self) -> None:
        self._stopping.set()
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()  # at its end the server leaves
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _run(self) -> None:
        try:
            self._wait_for_room()
            if self._stopping.is_set():  # meanwhile; nobody would end a server that starts now
                return
            process = self._process = self._spawn()
            self._report_ready(self._address(process))
        except Exception as error:  # noqa: BLE001  # whatever it is, the start has failed by it
            out_of_memory = isinstance(error, OutOfMemoryError)
            code = "out_of_memory" if out_of_memory else "engine_load_failed"
            self._status = replace(
                self._status, state=State.FAILED, phase="", error=str(error), error_code=code
            )
            return
        self._watch(process)

    def _wait_for_room(self) -> None:
        if self._spec.gpu_ids and self._spec.footprint and _is_nvidias(self._spec):
            self._status = replace(self._status, phase="waiting for room on its GPU")
            needed = self._spec.footprint.budget_bytes
            wait_for_room(self._spec.gpu_ids, needed, lambda: nvml.read().gpus)

    def _spawn(self) -> subprocess.Popen[str]:
        self._status = replace(self._status, phase="loading weights")
        process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=_CHECKOUT,
            env=os.environ | environment(self._spec),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        # By a pipe and not by arguments, which every user of the box can read: it has the token.
        asked = self._asked() | {"cores": _cores(self._spec)}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        return process

    def _address(self, process: subprocess.Popen[str]) -> str:
        """Waits for the server's one line. Raises EngineLoadError with the server's own reason."""
        assert process.stdout is not None
        line = process.stdout.readline()
        told = json.loads(line) if line else {}
        if "url" in told:
            return str(told["url"])
        # Without a line it was ended: by a signal, or by itself.
        own = told.get("error") or f"{self.title} left with exit code {process.wait()}"
        cause = self._cause(self._log.text(), own)
        raise (OutOfMemoryError if cause.out_of_memory else EngineLoadError)(cause.message)

    def _report_ready(self, url: str) -> None:
        found = self._of_ready(url)
        self._status = replace(
            self._status,
            state=State.READY,
            phase="",
            url=url,
            ready_after_s=time.time() - self._status.started_at,
            **found,
        )

    def _request(self, path: str, url: str = "") -> urllib.request.Request:
        return urllib.request.Request(  # noqa: S310  # our own loopback address
            f"{url or self._status.url}{path}",
            headers={"Authorization": f"Bearer {self._spec.token}"},
        )

    def _watch(self, process: subprocess.Popen[str]) -> None:
        """Leaves this process when the server is dead, or does not react in time."""
        probed_at = counted_at = time.monotonic()
        while not self._stopping.wait(_WATCH_PERIOD_S):
            if process.poll() is not None:
                _leave(f"{self.title} has died with exit code {process.returncode}")
            if time.monotonic() - probed_at > self._spec.stall_timeout_s / 4:
                self._probe(process)
                probed_at = time.monotonic()
            if time.monotonic() - counted_at > _COUNT_PERIOD_S:
                self._count()
                counted_at = time.monotonic()

    def _count(self) -> None:
        """Takes over what the prefix cache has counted; a busy server may answer next time."""
        try:
            with DIRECT.open(self._request("/metrics"), timeout=_COUNT_TIMEOUT_S) as answer:
                hits, fresh = prompt_tokens(answer.read().decode())
        except OSError:
            return
        if hits is not None and fresh is not None:
            self._status = replace(self._status, prefix_queries=hits + fresh, prefix_hits=hits)

    def _probe(self, process: subprocess.Popen[str]) -> None:
        try:
            DIRECT.open(f"{self._status.url}/health", timeout=self._spec.stall_timeout_s).close()
        except urllib.error.HTTPError as error:
            error.close()  # it reacts
        except OSError:
            if process.poll() is None and not self._stopping.is_set():
                process.kill()
                _leave(f"{self.title} did not react for {self._spec.stall_timeout_s:g} s")

    def _give_up_late(self) -> None:
        if self._stopping.wait(self._spec.load_timeout_s):
            return
        if self._status.state is State.LOADING:
            _leave(f"not ready within load_timeout ({self._spec.load_timeout_s:g} s)")


def environment(spec: ReplicaSpec) -> dict[str, str]:
    """What the server's process has beside this one's variables."""
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as NVML numbers them
        "CUDA_VISIBLE_DEVICES": ",".join(spec.gpu_ids),
    }


def _is_nvidias(spec: ReplicaSpec) -> bool:
    """NVML can tell what is free; nothing here can on a Mac, whose GPU shares main memory."""
    return spec.footprint is not None and spec.footprint.device.kind != "apple"


def _cores(spec: ReplicaSpec) -> list[int]:
    return sorted({core for worker in spec.cpu_ids for core in worker})


def _leave(reason: str) -> None:
    print(f"roundhouse: {reason}; leaving so that the replica is restarted", file=sys.stderr)
    sys.stderr.flush()
    os._exit(EXIT_ENGINE_DEAD)
