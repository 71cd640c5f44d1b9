"""Sees to it that no process outlives its owner, however the owner died.

`kill -9` gives nobody the chance to clean up, so a small process of its own watches: every process
whose environment names an owner that is gone is ended, first kindly, then not.
Run as `python -m engines.warden PID`; ends itself when PID and all that it owned are gone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil

OWNER = "ROUNDHOUSE_OWNER"
_PERIOD_S = 1.0
_KINDNESS_S = 5.0
_SHARED_MEMORY_TURNS = 10  # reading a large process's maps takes milliseconds
_YOUNG_S = 120.0
_SHARED_MEMORY = re.compile(r"(/dev/shm/\S+)$", re.MULTILINE)  # not those marked "(deleted)"


def owned_by(pid: int) -> dict[str, str]:
    """The environment that marks a process, and all that it starts, as belonging to `pid`.

    The start time goes with it, because process ids come round again. SPT_NOENV keeps Ray and vLLM
    from writing their process titles over the environment that the warden reads.
    """
    return {OWNER: f"{pid}:{psutil.Process(pid).create_time():.2f}", "SPT_NOENV": "1"}


def start(pid: int) -> subprocess.Popen[bytes]:
    """A warden over everything that `pid` will own, in a session of its own."""
    environment = {key: value for key, value in os.environ.items() if key != OWNER}
    return subprocess.Popen(
        [sys.executable, "-m", "engines.warden", str(pid)],
        cwd=Path(__file__).parent.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it owns, directly or through others; empty if it is gone."""
    try:
        own, root = psutil.Process(pid), owned_by(pid)[OWNER]
    except psutil.NoSuchProcess:
        return []
    return [own, *(process for process, _ in _owned_through({root}) if process.pid != pid)]


def watch(pid: int) -> None:
    """Until `pid` and all that it owned, directly or through others, are gone."""
    roots = {owned_by(pid)[OWNER]}
    shared: defaultdict[str, set[Path]] = defaultdict(set)
    for turn in count():
        owned = list(_owned_through(roots))
        for process, owner in owned:
            # An engine maps some of its shared memory only for moments, while it starts.
            if turn % _SHARED_MEMORY_TURNS == 0 or _is_young(process):
                shared[owner] |= _shared_memory([process.pid])
        dead = {owner for owner in (*shared, *(owner for _, owner in owned)) if not _alive(owner)}
        _end([process for process, owner in owned if owner in dead])
        for owner in dead:
            _unlink(shared.pop(owner, set()))
        if not owned and not any(_alive(root) for root in roots):
            return
        time.sleep(_PERIOD_S)


def _owned_through(roots: set[str]) -> Iterator[tuple[psutil.Process, str]]:
    """Processes whose chain of owners begins at a root; `roots` grows by the owners found."""
    marked = list(_marked())
    identities = {str(process.pid): owner for process, owner in marked}
    for process, owner in marked:
        if owner in roots or identities.get(owner.partition(":")[0]) in roots:
            roots.add(owner)
            yield process, owner


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        try:
            owner = process.environ().get(OWNER)
            if owner and process.status() != psutil.STATUS_ZOMBIE:
                yield process, owner
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's


def _is_young(process: psutil.Process) -> bool:
    return time.time() - process.create_time() < _YOUNG_S


def _alive(owner: str) -> bool:
    pid, _, created = owner.partition(":")
    try:
        process = psutil.Process(int(pid))
        same = f"{process.create_time():.2f}" == created
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=_KINDNESS_S)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=_KINDNESS_S)


def _unlink(files: set[Path]) -> None:
    """What a killed engine could not: its shared memory, unless somebody still has it mapped."""
    for file in files - _shared_memory(psutil.pids()) if files else ():
        file.unlink(missing_ok=True)


def _shared_memory(pids: Iterable[int]) -> set[Path]:
    """Files of shared memory that these processes have mapped; vLLM's hold up to 240 MiB each."""
    found: set[Path] = set()
    for pid in pids:
        with suppress(OSError):
            maps = Path(f"/proc/{pid}/maps").read_text()
            found.update(Path(name) for name in _SHARED_MEMORY.findall(maps))
    return found


if __name__ == "__main__":
    watch(int(sys.argv[1]))
