"""Servers as child processes: started, waited for, weighed, and always ended."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from benchmarks.calls import answers
from benchmarks.machine import ROOT

MARK = "ROUNDHOUSE_BENCH_SERVER"  # in the environment of a server and of all that it starts
POLL_S = 0.05
KIND_S = 20.0
LOG_TAIL_LINES = 40


class ServerFailedError(Exception):
    """A server did not get ready, or died; the message ends with the tail of its log."""


@dataclass(frozen=True)
class ProcessMemory:
    pid: int
    name: str
    pss_bytes: int


@dataclass
class Server:
    """`with Server(...) as server:` starts it and waits until `ready_path` answers 200."""

    name: str
    command: Sequence[str]
    url: str
    log: Path
    ready_path: str = "/health"
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0
    ready_s: float = 0.0
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        started_s = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = self.spawn(log)
        try:
            self.wait_until_ready(started_s + self.timeout_s)
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.perf_counter() - started_s
        return self

    def spawn(self, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.command,
            env={**os.environ, **self.env, MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Nothing here runs threads, which is what makes a preexec_fn unsafe.
            preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )

    def wait_until_ready(self, until_s: float) -> None:
        while not answers(self.url + self.ready_path):
            self.check()
            if time.perf_counter() > until_s:
                raise self.failure(f"was not ready after {self.timeout_s:.0f} s")
            time.sleep(POLL_S)

    def check(self) -> None:
        if self.process.poll() is not None:
            raise self.failure(f"ended with code {self.process.returncode}")

    def failure(self, what: str) -> ServerFailedError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        command = " ".join(self.command)
        return ServerFailedError("\n".join([f"{self.name} {what}: {command}", *lines]))

    def family(self) -> list[psutil.Process]:
        """The server and all that it started, wherever their parents went."""
        try:
            root = psutil.Process(self.process.pid)
            found = {root, *root.children(recursive=True)}
        except psutil.NoSuchProcess:
            found = set()
        return list(found | set(marked(self.mark)))

    def memory(self) -> tuple[ProcessMemory, ...]:
        """Proportional set sizes: shared pages are divided among those who share them."""
        weighed = (weigh(process) for process in self.family())
        return tuple(sorted(filter(None, weighed), key=lambda each: -each.pss_bytes))

    def cpu_s(self) -> float:
        """Seconds of CPU that the family has used so far."""
        return sum(used_s(process) for process in self.family())

    def stop(self) -> None:
        family = self.family()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(KIND_S)
        left = [process for process in {*family, *self.family()} if process.is_running()]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=KIND_S)
        self.process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                yield process
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's


def weigh(process: psutil.Process) -> ProcessMemory | None:
    try:
        command = (" ".join(process.cmdline()) or process.name()).replace(f"{ROOT}/", "")
        info = process.memory_full_info()
    except psutil.Error:
        return None
    # macOS has no PSS; the unique set size is the nearest that it offers.
    return ProcessMemory(process.pid, command[:100], getattr(info, "pss", 0) or info.uss)


def used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def die_with_parent() -> None:
    """In the child, before exec: SIGTERM when the benchmark dies, even by SIGKILL."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
