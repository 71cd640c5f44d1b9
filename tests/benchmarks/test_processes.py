"""Servers are always ended, with all that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import Server, ServerFailedError, free_port
from tests.fakes.running import PROGRAM

# Starts a child in another session, tells its id, then becomes the fake engine.
FORKING = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
print("child", child.pid, flush=True)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def server(folder: Path, *options: str, timeout_s: float = 20) -> Server:
    port = free_port()
    command = [sys.executable, str(PROGRAM), "--port", str(port), *options]
    url = f"http://127.0.0.1:{port}"
    return Server("fake", command, url, folder / "fake.log", timeout_s=timeout_s)


def eventually(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_server_starts_is_weighed_and_ends(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        assert 0 < running.ready_s < 20
        memory = running.memory()
        assert [each.pid for each in memory] == [running.process.pid]
        assert memory[0].pss_bytes > 2**20
        assert running.cpu_s() > 0
    assert not psutil.pid_exists(running.process.pid)


def test_one_that_does_not_start_tells_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerFailedError, match=r"(?s)fake ended with code 2.*--nonsense"),
        server(tmp_path, "--nonsense"),
    ):
        pass


def test_one_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    slow = server(tmp_path, timeout_s=0.5)
    slow.ready_path = "/nowhere"
    with pytest.raises(ServerFailedError, match="was not ready"), slow:
        pass
    assert not psutil.pid_exists(slow.process.pid)


def test_one_that_died_is_noticed(tmp_path: Path) -> None:
    with server(tmp_path) as running:
        running.process.kill()
        running.process.wait()
        with pytest.raises(ServerFailedError, match="ended with code -9"):
            running.check()


def test_what_it_started_in_another_session_ends_too(tmp_path: Path) -> None:
    made = server(tmp_path)
    made.command = [sys.executable, "-c", FORKING, *made.command[1:]]
    with made as running:
        child = int(running.log.read_text().split()[1])
        assert child in [process.pid for process in running.family()]
    eventually(lambda: not psutil.pid_exists(child))


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_a_server_dies_with_a_killed_benchmark(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys, time;"
        "from tests.benchmarks.test_processes import server;"
        "s = server(Path(sys.argv[1])).__enter__(); print(s.process.pid, flush=True);"
        "time.sleep(60)"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert bench.stdout is not None
    pid = int(bench.stdout.readline())
    os.kill(bench.pid, signal.SIGKILL)
    bench.wait()
    bench.stdout.close()
    eventually(lambda: not psutil.pid_exists(pid))
