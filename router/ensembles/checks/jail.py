"""Runs code that nobody vouches for: a script of its own, started by `child`, with no package of
this project, since it becomes the first process of a world without them.

Linux only, with namespaces: as root, or where users may make user namespaces. In its world there
are Python, the system's libraries (read only) and an empty folder in memory; no network, no other
processes, no home, no /proc. Where that world cannot be made, the code is not run.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# Of <sched.h>, <sys/mount.h>, <linux/mount.h> and <sys/prctl.h>.
_NEW_USER = 0x10000000
_NEW_WORLD = 0x00020000 | 0x08000000 | 0x04000000 | 0x20000000 | 0x40000000  # files, IPC, UTS,
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18  # ... processes, network
_MS_NOSUID, _MS_NODEV = 2, 4
_MNT_DETACH = 2
_ATTR_RDONLY_NOSUID_NODEV = 1 | 2 | 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_MOUNT_SETATTR = 442  # the same on all machines
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 4, 38, 22
_FILTER, _STEP_BYTES = 2, 8

_SEEN = ("/usr", "/bin", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/dev/null")
# The new root is mounted over it: it is always there, and nothing that is needed lies in it.
_ROOT = "/proc"
_HOME = "/tmp"  # noqa: S108 - of the new world, where nobody else is
_FIRST_UID, _UIDS = 60_000, 5_000
_INNER_UID = 1000

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    if sys.platform != "linux":
        _tell_unavailable(OSError("only Linux can"))
    question = json.load(sys.stdin)
    _die_with_parent()
    uid = _FIRST_UID + os.getpid() % _UIDS
    try:
        is_root = _new_world()
    except OSError as error:
        _tell_unavailable(error)
    first = os.fork()  # only a child is in the new world of processes
    if first == 0:
        _be_first(question, uid if is_root else None)
    os._exit(_status(first))


def _new_world() -> bool:
    """Whether root made it; then a number of its own bounds the code's processes."""
    if os.geteuid() == 0:
        _checked("unshare", libc.unshare(_NEW_WORLD))
        is_root = True
    else:
        uid, gid = os.geteuid(), os.getegid()
        _checked("unshare", libc.unshare(_NEW_USER | _NEW_WORLD))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_INNER_UID} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{_INNER_UID} {gid} 1")
        is_root = False
    with suppress(OSError):  # when memory runs out all the same, this goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    return is_root


def _be_first(question: dict[str, Any], uid: int | None) -> None:
    """When this process ends, the kernel ends all others of its world."""
    _die_with_parent()
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    try:
        _make_root(question["limits"]["disk_bytes"])
    except OSError as error:
        _tell_unavailable(error)
    code = os.fork()
    if code == 0:
        try:
            _become(question, uid)
        except OSError as error:
            _tell_unavailable(error)
    os._exit(_status(code))


def _make_root(disk_bytes: int) -> None:
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    options = f"size={disk_bytes},nr_inodes=4096,mode=755"
    _mount("tmpfs", _ROOT, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    prefixes = {os.path.realpath(each) for each in (sys.base_prefix, sys.base_exec_prefix)}
    for path in (*_SEEN, *sorted(prefixes)):
        _show(Path(path), Path(_ROOT + path))
    home = Path(_ROOT + _HOME)
    home.mkdir(exist_ok=True)  # Python itself may lie in there
    home.chmod(0o777)
    os.chdir(_ROOT)
    _checked("pivot_root", libc.pivot_root(b".", b"."))
    _checked("umount", libc.umount2(b".", _MNT_DETACH))
    os.chdir(_HOME)


def _show(path: Path, place: Path) -> None:
    if place.exists() or not path.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    place.mkdir() if path.is_dir() else place.touch()
    _mount(str(path), str(place), None, _MS_BIND | _MS_REC)
    if path.is_char_device():
        return
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY_NOSUID_NODEV, 0, 0, 0)
    done = libc.syscall(
        *(_SYS_MOUNT_SETATTR, _AT_FDCWD, str(place).encode(), _AT_RECURSIVE),
        *(attributes, ctypes.c_size_t(ctypes.sizeof(attributes))),
    )
    _checked(f"read-only {path}", done)


def _become(question: dict[str, Any], uid: int | None) -> None:
    """Python anew, as nobody, within its limits."""
    limits = question["limits"]
    stdin = os.memfd_create("question")
    os.write(stdin, json.dumps(question).encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    os.dup2(stdin, 0)
    for which, most in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"] + (0 if uid else 2)),  # ours are its user's
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(which, (most, most))
    os.nice(10)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _deny(bytes.fromhex(question["denials"]))
    python = os.path.realpath(sys.executable)
    environment = {"PATH": "/usr/bin:/bin", "HOME": _HOME, "LANG": "C.UTF-8"}
    os.execve(python, [python, "-I", "-S", "-c", question["runner"]], environment)  # noqa: S606


def _deny(program: bytes) -> None:
    """By seccomp; what is started from here on is bound by it, too."""

    class Program(ctypes.Structure):
        _fields_ = (("steps", ctypes.c_ushort), ("program", ctypes.c_char_p))

    steps = Program(len(program) // _STEP_BYTES, program)
    _checked("seccomp", libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(steps), 0, 0))


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() if kind else None)
    _checked(f"mount {target}", libc.mount(*words, ctypes.c_ulong(flags), data.encode()))


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent() -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _status(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


def _tell_unavailable(error: OSError) -> None:
    os.write(1, json.dumps({"unavailable": error.strerror or str(error)}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
