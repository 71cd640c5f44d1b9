"""One question to a Python script in a process of its own, which ends with all that it started."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_MAX_OUTPUT_BYTES = 16 * 1024
# Of all checks of this process together; each may fill a core.
_at_once = asyncio.Semaphore(max(1, os.cpu_count() or 1))


class NoReplyError(Exception):
    """It ended, or was ended, without a reply; `str(error)` says how."""


async def ask(script: Path, question: Mapping[str, Any], wall_s: float, *flags: str) -> Any:
    """The script reads JSON from its standard input, and writes JSON to its standard output.

    It inherits no environment and no open files, and starts in `/`. Raises NoReplyError.
    """
    async with _at_once:
        process = await asyncio.create_subprocess_exec(
            *(_python(flags), "-I", *flags, str(script)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(wall_s):
                return await _replied(process, json.dumps(question).encode())
        except TimeoutError:
            raise NoReplyError(f"not done after {wall_s:g} s") from None
        finally:
            await _end(process)


def _python(flags: tuple[str, ...]) -> str:
    """Without site packages there is no need for the virtual environment's own."""
    return os.path.realpath(sys.executable) if "-S" in flags else sys.executable


async def _replied(process: Process, question: bytes) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(question)
        await process.stdin.drain()
    process.stdin.close()
    output = b""
    while piece := await process.stdout.read(_MAX_OUTPUT_BYTES):
        output += piece
        if len(output) > _MAX_OUTPUT_BYTES:
            raise NoReplyError(f"more than {_MAX_OUTPUT_BYTES} bytes of output")
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        raise NoReplyError(_how_it_ended(await process.wait())) from None


def _how_it_ended(code: int) -> str:
    number = -code if code < 0 else code - 128
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "ended by its limit of processor time or memory"
    return "ended before its tests did"


async def _end(process: Process) -> None:
    """Nobody else waits for the group's leader, so its number is still its own. Without reading to
    the end asyncio may not see that it has ended."""
    assert process.stdout is not None
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    while await process.stdout.read(_MAX_OUTPUT_BYTES):
        pass
    await process.wait()
