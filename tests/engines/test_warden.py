"""Real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from engines import warden

# Starts a child marked as its own, which starts one in turn; prints both process ids; stays.
OWNER_PROGRAM = """
import os, subprocess, sys, time
from engines.warden import owned_by
child = 'import subprocess, sys; print(subprocess.Popen(["sleep", "100"]).pid, flush=True); ' \\
    'import time; time.sleep(100)'
process = subprocess.Popen(
    [sys.executable, "-c", child], env={**os.environ, **owned_by(os.getpid())},
    stdout=subprocess.PIPE, text=True, start_new_session=True)
print(process.pid, process.stdout.readline().strip(), flush=True)
time.sleep(100)
"""


@pytest.fixture
def processes() -> Iterator[list[int]]:
    started: list[int] = []
    yield started
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_gone(*pids: int) -> None:
    give_up_at = time.monotonic() + 60
    while not all(map(gone, pids)):
        assert time.monotonic() < give_up_at, "still there"
        time.sleep(0.05)


def test_what_a_killed_owner_leaves_is_ended_and_nothing_else(processes: list[int]) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    child, grandchild = map(int, owner.stdout.readline().split())
    bystander = subprocess.Popen(["sleep", "100"], start_new_session=True)
    processes += [owner.pid, child, grandchild, bystander.pid]
    guard = warden.start(owner.pid)
    time.sleep(0.3)
    assert not any(map(gone, (child, grandchild)))
    owner.kill()
    owner.wait()
    wait_gone(child, grandchild)
    assert guard.wait(60) == 0, "the warden ends when its work is done"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    owner.stdout.close()


def test_a_chain_of_owners_is_followed(processes: list[int]) -> None:
    """As with an engine core, whose owner is an actor, whose owner is the command."""
    actor = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **warden.owned_by(os.getpid())},
    )
    assert actor.stdout is not None
    child, grandchild = map(int, actor.stdout.readline().split())
    processes += [actor.pid, child, grandchild]
    guard = warden.start(os.getpid())
    try:
        time.sleep(0.5)
        actor.kill()
        actor.wait()
        wait_gone(child, grandchild)
        assert guard.poll() is None, "its root lives"
    finally:
        guard.kill()
        guard.wait()
        actor.stdout.close()


def test_a_process_id_that_came_round_again_is_no_owner() -> None:
    mark = warden.owned_by(os.getpid())[warden.OWNER]
    pid = mark.partition(":")[0]
    assert warden._alive(mark)
    assert not warden._alive(f"{pid}:1.00")


def test_another_owners_processes_are_left_alone() -> None:
    """Neither one whose owner is not ours, nor one whose mark names our id at another time."""
    marks = ("1:1.00", f"{os.getpid()}:1.00", "nonsense", "")
    strangers = [
        subprocess.Popen(["sleep", "100"], env={**os.environ, warden.OWNER: mark}) for mark in marks
    ]
    try:
        roots = {warden.owned_by(os.getpid())[warden.OWNER]}
        found = {process.pid for process, _ in warden._owned_through(roots)}
        assert not found & {stranger.pid for stranger in strangers}
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def test_one_that_will_not_go_is_made_to(
    processes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warden, "_KINDNESS_S", 0.1)
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    stubborn = subprocess.Popen(
        [sys.executable, "-c", f"{program}; time.sleep(100)"], stdout=subprocess.PIPE
    )
    processes.append(stubborn.pid)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    warden._end([psutil.Process(stubborn.pid)])
    assert gone(stubborn.pid)
    stubborn.wait()
    stubborn.stdout.close()


def test_one_that_would_go_is_given_the_time(processes: list[int]) -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye')))"
    kind = subprocess.Popen(
        [sys.executable, "-u", "-c", f"{program}; print(1); time.sleep(100)"],
        stdout=subprocess.PIPE,
    )
    processes.append(kind.pid)
    assert kind.stdout is not None
    kind.stdout.readline()
    warden._end([psutil.Process(kind.pid)])
    assert kind.stdout.read() == b"bye\n"
    kind.wait()
    kind.stdout.close()


def test_the_mark_tells_owner_and_start() -> None:
    mark = warden.owned_by(os.getpid())
    pid, _, created = mark[warden.OWNER].partition(":")
    assert int(pid) == os.getpid()
    assert float(created) == pytest.approx(psutil.Process().create_time(), abs=0.01)
    assert mark["SPT_NOENV"] == "1", "a process title must not overwrite the mark"


# Maps a file of shared memory for four seconds, as an engine does while it starts, and keeps it.
SHARING_PROGRAM = """
import mmap, os, subprocess, sys, time
from engines.warden import owned_by
child = '''
import mmap, pathlib, sys, time
file = pathlib.Path(sys.argv[1])
file.write_bytes(bytes(4096))
with file.open("r+b") as opened:
    mapped = mmap.mmap(opened.fileno(), 4096)
print("mapped", flush=True)
time.sleep(4)
mapped.close()
print("unmapped", flush=True)
time.sleep(100)
'''
process = subprocess.Popen([sys.executable, "-c", child, sys.argv[1]],
    env={**os.environ, **owned_by(os.getpid())}, start_new_session=True)
time.sleep(100)
"""


def test_shared_memory_that_was_mapped_only_at_the_start_is_removed(processes: list[int]) -> None:
    file = Path(f"/dev/shm/roundhouse-test-{os.getpid()}")
    owner = subprocess.Popen(
        [sys.executable, "-c", SHARING_PROGRAM, str(file)], stdout=subprocess.PIPE, text=True
    )
    processes.append(owner.pid)
    assert owner.stdout is not None
    guard = warden.start(owner.pid)
    assert [owner.stdout.readline().strip() for _ in range(2)] == ["mapped", "unmapped"]
    assert file.exists()
    owner.kill()
    owner.wait()
    assert guard.wait(60) == 0
    assert not file.exists()
    owner.stdout.close()
