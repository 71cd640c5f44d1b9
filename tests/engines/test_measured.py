"""What a process and all that it owns take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engines.measured import measured
from engines.warden import family, owned_by

_BYTES = 64 << 20
_PROGRAM = f"x = bytearray({_BYTES}); x[::4096] = b'1' * len(x[::4096]); print(flush=True); input()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that this one owns, with 64 MiB in use."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        env=os.environ | owned_by(os.getpid()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_and_its_family(child: subprocess.Popen[str]) -> None:
    assert child.pid in {process.pid for process in family(os.getpid())}
    alone, both = measured([child.pid], on_gpus=False), measured([os.getpid()], on_gpus=False)
    assert alone
    assert both
    assert _BYTES < alone["ram"] < both["ram"]


def test_nothing_is_known_of_who_has_gone(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert family(child.pid) == []
    assert measured([child.pid], on_gpus=False) is None
    assert measured([child.pid], on_gpus=True) is None
