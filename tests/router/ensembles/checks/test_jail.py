"""Code that tries to get out, to take everything, or to stay. It runs for real."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import platform
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.ensembles_judged import CheckConfig
from common.errors import BadRequestError
from router.ensembles.checks import check, syscalls
from router.ensembles.checks.check import Check, failing, unavailable
from router.ensembles.checks.limits import Limits

WHY_NOT = asyncio.run(unavailable())
needs_a_jail = pytest.mark.skipif(WHY_NOT is not None, reason=f"no namespaces: {WHY_NOT}")
pytestmark = needs_a_jail

QUICK = Limits(wall_s=60, cpu_s=1)
MIB = 1 << 20
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
RUNNER = "what `jail` starts as a Python of its own"


def run(code: str, tests: str = "", limits: Limits = QUICK) -> str | None:
    return asyncio.run(failing(code, tests, limits))


def told_by(code: str) -> object:
    """What `told` is at the end of the code; the only way out is the complaint."""
    complaint = run(f"import json\n{code}", "raise Exception(json.dumps(told))")
    assert complaint is not None
    assert complaint.startswith("Exception: "), complaint
    return json.loads(complaint.removeprefix("Exception: "))


def test_code_that_is_right_passes() -> None:
    assert run("def add(a, b):\n    return a + b", "assert add(2, 3) == 5") is None
    assert run("```python\ndef add(a, b):\n    return a + b\n```", "assert add(2, 3) == 5") is None


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def add(a, b): return a - b", "AssertionError: no sum"),
        ("def add(a, b) return a", "SyntaxError"),
        ("", "NameError: name 'add' is not defined"),
        ("import numpy", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os; os._exit(0)", "ended before its tests did"),
        ("import os; os.kill(os.getpid(), 11)", "ended before its tests did"),
        ("input()", "EOFError"),
    ],
)
def test_code_that_is_wrong_does_not(code: str, complaint: str) -> None:
    told = run(code, "assert add(2, 3) == 5, 'no sum'")
    assert told is not None
    assert complaint in told


def test_a_main_block_does_not_run() -> None:
    assert run("if __name__ == '__main__':\n    raise Exception('ran')", "pass") is None


def test_an_endless_loop_is_ended_by_its_processor_time() -> None:
    assert run("while True: pass") == "ended by its limit of processor time or memory"


def test_a_long_sleep_is_ended_by_the_clock() -> None:
    began = time.monotonic()
    assert run("import time; time.sleep(600)", limits=Limits(wall_s=1)) == "not done after 1 s"
    assert time.monotonic() - began < 60


def test_a_memory_hog_gets_no_more_than_its_limit() -> None:
    assert run("x = bytearray(2 << 30)") == "MemoryError: "
    hog = "x = []\nwhile True: x.append(bytearray(16 << 20))"
    assert run(hog) in ("MemoryError: ", "ended by its limit of processor time or memory")


@pytest.mark.parametrize(
    "call",
    [
        "shmget(0, 1 << 20, 0o1600)",  # memory that no other limit knows
        "memfd_create(b'x', 0)",
        "unshare(0x10000000)",  # a world of its own, without our limits
        "mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "syscall(435, 0, 0)",  # clone3
        "ptrace(0, 0, 0, 0)",
    ],
)
def test_what_the_kernel_is_not_to_do(call: str) -> None:
    assert told_by(f"import ctypes\ntold = ctypes.CDLL(None).{call}") == -1


def test_a_process_in_a_world_of_its_own_is_refused() -> None:
    """By clone, whose number is the machine's own."""
    code = f"""\
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
told = [libc.syscall({CLONE}, 0x10000000 | 17, 0, 0, 0, 0), ctypes.get_errno()]
"""
    assert told_by(code) == [-1, errno.EPERM]


def test_a_machine_whose_calls_are_not_known() -> None:
    assert syscalls.denials("sparc64") is None
    assert len(syscalls.denials("aarch64") or b"") == len(syscalls.denials("x86_64") or b"")


def test_a_fork_bomb_is_bounded() -> None:
    code = """\
import os, time
told = 0
while told < 1000:
    try:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    except OSError:
        break
    told += 1
"""
    assert told_by(code) == QUICK.processes - 1
    bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    assert run(bomb, limits=Limits(wall_s=3, cpu_s=1)) is not None
    assert all_gone()


def test_threads_count_too() -> None:
    code = """\
import threading, time
told = 0
for _ in range(100):
    try:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    except RuntimeError:
        break
    told += 1
"""
    assert told_by(code) == QUICK.processes - 1


def test_children_that_hide_end_with_it() -> None:
    """A session of its own, its parent gone: what a daemon does."""
    code = """\
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
"""
    assert run(code, "pass") is None
    assert all_gone()


def test_children_end_when_it_is_given_up() -> None:
    async def give_up() -> None:
        code = "import os, time\nos.fork(); os.setsid(); time.sleep(600)"
        task = asyncio.create_task(failing(code, "", QUICK))
        while len(psutil.Process().children(recursive=True)) < 4:  # two of the jail, two of it
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert all_gone()


def inside() -> set[psutil.Process]:
    """All processes of jails, whoever their parents are now."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if "checks/jail.py" in command or RUNNER in command:
                found.add(process)
    return found


def all_gone() -> bool:
    """The kernel may need a moment to end them; what has got away would sleep for minutes."""
    left = inside()
    for _ in range(600):
        left = {process for process in left if process.is_running() and process in inside()}
        if not left:
            return True
        time.sleep(0.05)
    return False


def test_it_sees_nothing_of_this_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDHOUSE_API_KEY", "secret")
    (tmp_path / "secret").write_text("secret")
    code = f"""\
import os
told = {{
    "environment": sorted(os.environ),
    "root": sorted(os.listdir("/")),
    "proc": os.path.exists("/proc/1/environ"),
    "secret": os.path.exists({str(tmp_path / "secret")!r}),
    "here": os.listdir("."),
    "files": [],
    "passwd": os.path.exists("/etc/passwd"),
    "is_root": os.getuid() == 0,
}}
for fd in range(3, 64):
    try:
        os.fstat(fd)
        told["files"].append(fd)
    except OSError:
        pass
"""
    told = told_by(code)
    assert isinstance(told, dict)
    allowed = {"usr", "bin", "lib", "lib64", "nix", "etc", "dev", "tmp"}
    own = Path(os.path.realpath(sys.base_prefix)).parts[1]
    assert set(told.pop("root")) <= {*allowed, own}
    assert "ROUNDHOUSE_API_KEY" not in told["environment"]
    assert set(told.pop("environment")) <= {"PATH", "HOME", "LANG", "LC_CTYPE"}
    assert len(told.pop("files")) <= 1  # where its reply goes
    assert told == {"proc": False, "secret": False, "here": [], "passwd": False, "is_root": False}


@pytest.mark.parametrize("place", ["/usr/x", "/lib/x", "/etc/x", "/x", "/dev/x", "PYTHON/x"])
def test_it_writes_nowhere_that_lasts(place: str, tmp_path: Path) -> None:
    where = place.replace("PYTHON", os.path.realpath(sys.base_prefix))
    assert not Path(where).exists()
    run(f"open({where!r}, 'w').write('x')", "raise SystemExit")
    assert not Path(where).exists()
    outside = tmp_path / "x"
    assert "No such file" in str(run(f"open({str(outside)!r}, 'w')"))
    removed = run("import os; os.remove(os.__file__)")
    assert "Read-only file system" in str(removed) or "Permission denied" in str(removed)


def test_its_own_folder_is_there_and_gone_after() -> None:
    assert run("open('x', 'w').write('y')", "assert open('x').read() == 'y'") is None
    assert run("", "import os; assert not os.path.exists('x')") is None


def test_files_fill_no_disk() -> None:
    big = "f = open('x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))"
    assert run(big) is not None
    many = """\
told = 0
try:
    for i in range(100):
        open(f"x{i}", "wb").write(b"x" * (4 << 20))
        told += 1
except OSError:
    pass
"""
    assert told_by(many) == QUICK.disk_bytes // (4 * MIB)


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert "Network is unreachable" in str(run(code))
    assert "gaierror" in str(run("import socket; socket.getaddrinfo('example.org', 80)"))
    abstract = f"\0roundhouse-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(abstract)
        server.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({abstract!r})"
        assert "refused" in str(run(code))


def test_it_cannot_end_others() -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        code = f"""\
import os
for pid in ({bystander.pid}, os.getppid(), 1, -1):
    try:
        os.kill(pid, 9)
    except OSError:
        pass
"""
        complaint = run(code)
        is_alive = bystander.poll() is None
        bystander.kill()
    assert is_alive
    assert complaint is None


def test_huge_output_goes_nowhere() -> None:
    code = "import os\nfor _ in range(200): os.write(1, b'x' * (1 << 20)); os.write(2, b'x' * 9999)"
    assert run(code, "pass", Limits(cpu_s=10)) is None
    flood = """\
import os
for fd in range(3, 10):
    try:
        while True: os.write(fd, b"x" * 65536)
    except OSError:
        pass
"""
    assert run(flood) is not None


def test_a_forged_reply_that_is_none() -> None:
    write = "try: os.write(fd, b'[1]')\n    except OSError: pass"
    forged = f"import os\nfor fd in range(3, 10):\n    {write}\nos._exit(0)"
    assert run(forged) == "no verdict: [1]"


def test_many_at_once() -> None:
    async def several() -> list[str | None]:
        return await asyncio.gather(*(failing(f"x = {i}", "assert x % 2") for i in range(6)))

    assert asyncio.run(several()) == ["AssertionError: ", None] * 3


def test_where_code_cannot_be_shut_in_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(code: str, tests: str) -> str:
        return "unshare: Operation not permitted"

    monkeypatch.setattr(check, "failing", refused)
    monkeypatch.setattr(check, "_proven", [])
    with pytest.raises(BadRequestError, match=r"cannot shut code in.*unshare: Operation not perm"):
        asyncio.run(Check(CheckConfig(tests="pass")).ready())
