"""What code that is shut in may not ask of the kernel, as a filter of Linux' seccomp.

A world within the world would have no limits of ours, and neither has System V's shared memory.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

# Of <linux/bpf_common.h> and <linux/seccomp.h>.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_OTHER_ABI = 0x40000000  # x32 of x86-64: the same calls under other numbers
_NEW_USER = 0x10000000
_CLONE3 = 435  # its flags lie where a filter cannot look; without it libc uses clone


@dataclass(frozen=True)
class _Machine:
    audit: int
    clone: int
    denied: dict[str, int]


_DENIED = (
    *("unshare", "setns", "mount", "shmget", "memfd_create"),
    *("ptrace", "add_key", "keyctl", "bpf", "userfaultfd"),
)
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        dict(zip(_DENIED, (272, 308, 165, 29, 319, 101, 248, 250, 321, 323), strict=True)),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        dict(zip(_DENIED, (97, 268, 40, 194, 279, 117, 217, 219, 280, 282), strict=True)),
    ),
}
_NEWER = (425, 428, 429, 430, 442)  # io_uring_setup, and mounts; the same numbers everywhere


def denials(machine: str = platform.machine()) -> bytes | None:
    """The filter's program; None for a machine whose numbers are not known here."""
    known = _MACHINES.get(machine)
    if known is None:
        return None
    no_such, not_allowed = _ERRNO | errno.ENOSYS, _ERRNO | errno.EPERM
    steps = [
        _step(_LOAD, _MACHINE_AT),
        _step(_IF_EQUAL, known.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_AT),
        *_on(_IF_AT_LEAST, _OTHER_ABI, no_such),
        *_on(_IF_EQUAL, _CLONE3, no_such),
    ]
    for number in (*known.denied.values(), *_NEWER):
        steps += _on(_IF_EQUAL, number, not_allowed)
    steps += [_step(_IF_EQUAL, known.clone, 0, 3), _step(_LOAD, _FIRST_ARGUMENT_AT)]
    steps += [*_on(_IF_ANY_BIT, _NEW_USER, not_allowed), _step(_RETURN, _ALLOW)]
    return b"".join(steps)


def _on(test: int, value: int, answer: int) -> list[bytes]:
    return [_step(test, value, 0, 1), _step(_RETURN, answer)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
