"""vLLM inside this process: its engine client and its OpenAI app in a thread of their own.

The thread has its own event loop, so that the replica answers control calls while a model loads.
A dead or frozen engine core takes the whole process with it: Ray Serve restarts a replica whose
process has gone at once, and one that merely answers "unhealthy" after three checks.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.errors import OutOfMemoryError
from engines import startup_report
from engines.base import EngineStatus, ReplicaSpec, State
from engines.room import wait_for_room
from engines.startup_log import StartupLog
from engines.vllm_args import command_line
from engines.vllm_cache import held_tokens, with_counts
from placement.calibration import store as calibration_store
from placement.calibration.startup_report import StartupReport
from placement.inventory import nvml

EXIT_ENGINE_DEAD = 70
_WATCH_PERIOD_S = 0.25
_STOP_TIMEOUT_S = 10.0
_LAST_WORDS_S = 0.5  # for the error events of streams that were open when the engine died


class VllmEngine:
    """See engines.base.Engine. One per process: vLLM keeps much of its state in globals."""

    def __init__(self, spec: ReplicaSpec) -> None:
        self._spec = spec
        self._log = StartupLog(Path(spec.log_path))
        self._status = EngineStatus(State.LOADING, "importing vLLM", pid=os.getpid())
        self._client: Any = None
        self._server: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._level = 0  # of its sleep
        self._is_turning = False  # the core is deaf while it falls asleep and wakes up
        self._thread = threading.Thread(target=self._run, name="vllm", daemon=True)

    def start(self) -> None:
        for name, value in environment(self._spec).items():
            os.environ[name] = value
        self._status = replace(self._status, started_at=time.time())
        self._thread.start()
        threading.Thread(target=self._give_up_late, name="load-timeout", daemon=True).start()

    def status(self) -> EngineStatus:
        status = self._status  # the engine's thread may replace it meanwhile
        if status.state is State.LOADING and self._client is None:
            phase = self._log.phase()
            if phase != "starting":
                return replace(status, phase=phase)
        if self._client is not None and self._client.errored:
            return replace(status, state=State.STARTING, phase="engine died", url=None)
        return with_counts(status) if status.state is State.READY else status

    def stop(self) -> None:
        """Ends server and engine in their own order, so that no shared memory is left behind."""
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT_S)

    def sleep(self, level: int) -> None:
        """See engines.base.Sleeper."""
        self._level = level
        self._status = replace(self._status, state=State.COLD, phase=f"asleep, level {level}")
        self._do(self._client.sleep(level))

    def wake(self) -> None:
        """See engines.base.Sleeper."""
        if self._level:
            self._do(self._woken())
            self._level = 0
            self._status = replace(self._status, state=State.READY, phase="")

    async def _woken(self) -> None:
        if self._level == 1:
            await self._client.wake_up()
            return
        # Level 2 has dropped the weights: room for them first, and for the KV cache when they are
        # there, so that loading does not need both at once.
        await self._client.wake_up(["weights"])
        await self._client.collective_rpc("reload_weights")
        await self._client.wake_up(["kv_cache"])

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        """In the engine's own thread. Raises what that raises."""
        assert self._loop is not None, "only a loaded engine falls asleep"
        self._is_turning = True
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()
        finally:
            self._is_turning = False

    def _run(self) -> None:
        import uvloop

        try:
            if self._spec.gpu_ids and self._spec.footprint:
                self._status = replace(self._status, phase="waiting for room on its GPU")
                needed = self._spec.footprint.budget_bytes
                wait_for_room(self._spec.gpu_ids, needed, lambda: nvml.read().gpus)
            uvloop.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # whatever it is, the start has failed by it
            cause = self._log.cause(error)
            out_of_memory = cause.out_of_memory or isinstance(error, OutOfMemoryError)
            code = "out_of_memory" if out_of_memory else "engine_load_failed"
            self._status = replace(
                self._status, state=State.FAILED, phase="", error=cause.message, error_code=code
            )
            self._learn(startup_report.parse(self._log.text()))  # a shortage teaches most

    async def _serve(self) -> None:
        from engines import vllm_compat as compat

        args = compat.parse_arguments(command_line(self._spec))
        async with compat.open_client(args) as client:
            app = await compat.build_app(client, args)
            listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
            self._server = _http_server(app)
            watch = asyncio.create_task(self._watch(client, compat.probe))
            self._loop = asyncio.get_running_loop()
            self._client = client
            report = startup_report.report(self._log.text(), client)
            kv_tokens = held_tokens(client, report.kv_cache_tokens)
            self._report_ready(listener.getsockname()[1], client, kv_tokens)
            threading.Thread(target=self._learn, args=(report,), daemon=True).start()
            await self._server.serve(sockets=[listener])
            watch.cancel()

    def _report_ready(self, port: int, client: Any, kv_tokens: int | None) -> None:
        self._status = replace(
            self._status,
            state=State.READY,
            phase="",
            url=f"http://127.0.0.1:{port}",
            ready_after_s=time.time() - self._status.started_at,
            max_model_len=client.model_config.max_model_len,
            kv_tokens=kv_tokens,
        )

    def _learn(self, report: StartupReport) -> None:
        """Keeps what this start took beside what was predicted, so that the next plan knows."""
        if self._spec.footprint is not None:
            calibration_store.learn(self._spec.footprint, report)

    async def _watch(self, client: Any, probe: Any) -> None:
        """Leaves the process when the engine core is dead, or does not react in time."""
        probing = asyncio.create_task(probe(client))
        probed_at = time.monotonic()
        while not client.errored:
            await asyncio.sleep(_WATCH_PERIOD_S)
            if self._is_turning:
                probed_at = time.monotonic()
            elif probing.done():
                if time.monotonic() - probed_at > self._spec.stall_timeout_s / 4:
                    probing, probed_at = asyncio.create_task(probe(client)), time.monotonic()
            elif time.monotonic() - probed_at > self._spec.stall_timeout_s:
                _leave(f"engine core did not react for {self._spec.stall_timeout_s:g} s")
        await asyncio.sleep(_LAST_WORDS_S)
        _leave("engine core is dead")

    def _give_up_late(self) -> None:
        time.sleep(self._spec.load_timeout_s)
        if self._status.state is State.LOADING:
            _leave(f"not ready within load_timeout ({self._spec.load_timeout_s:g} s)")


def environment(spec: ReplicaSpec) -> dict[str, str]:
    """Environment variables that vLLM reads, for this process and those that it starts."""
    values = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if spec.gpu_ids:
        values["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as NVML numbers them
        values["CUDA_VISIBLE_DEVICES"] = ",".join(spec.gpu_ids)
    if spec.cpu_ids:
        lists = (",".join(map(str, cores)) for cores in spec.cpu_ids)
        values["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(lists)
    if spec.on_cpu and spec.engine_args.get("enforce_eager", True):
        # A few functions of vLLM are compiled even so, such as the one for logprobs: the first
        # request that needs it would block the engine for ten seconds, or kill it without g++.
        values["TORCHDYNAMO_DISABLE"] = "1"
    if Path(spec.source).exists():
        values["HF_HUB_OFFLINE"] = "1"  # everything is at hand: no look-ups at a hub
    return values


def _http_server(app: Any) -> Any:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _leave(reason: str) -> None:
    print(f"roundhouse: {reason}; leaving so that the replica is restarted", file=sys.stderr)
    sys.stderr.flush()
    os._exit(EXIT_ENGINE_DEAD)
