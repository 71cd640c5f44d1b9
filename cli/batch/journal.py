"""A file that lines are only ever added to, whole, and that tells which requests are done."""

from __future__ import annotations

import json
import os
from pathlib import Path

from common.errors import StartError, UsageError


class Journal:
    """One of a batch's two output files. It is made with its first line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._is_synced = True

    def ids(self) -> set[str]:
        """Of what it holds. A last line that was cut off is dropped. Raises UsageError."""
        if not self.path.exists():
            return set()
        found: set[str] = set()
        whole_bytes = 0
        try:
            with self.path.open("rb") as file:
                for line, raw in enumerate(file, start=1):
                    if not raw.endswith(b"\n"):
                        break
                    found.add(self._id(line, raw))
                    whole_bytes += len(raw)
            if whole_bytes < self.path.stat().st_size:
                os.truncate(self.path, whole_bytes)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None
        return found

    def drop(self) -> None:
        """Forgets all that it held."""
        self.path.unlink(missing_ok=True)

    def add(self, line: bytes) -> None:
        """Raises StartError when the disk is full; the file then ends with the line before."""
        try:
            fd = self._opened()
            end = os.lseek(fd, 0, os.SEEK_END)
            try:
                _write(fd, line)
            except OSError:
                os.ftruncate(fd, end)
                raise
        except OSError as error:
            raise self._unwritable(error) from None
        self._is_synced = False

    def sync(self) -> None:
        """What was added outlives a power cut from now on."""
        if self._fd is None or self._is_synced:
            return
        self._is_synced = True
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _opened(self) -> int:
        if self._fd is None:
            is_new = not self.path.exists()
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            if is_new:
                sync_folder(self.path.parent)
        return self._fd

    def _id(self, line: int, raw: bytes) -> str:
        try:
            return str(json.loads(raw)["custom_id"])
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.path}:{line}: is no line of a batch's output; move the file away"
            ) from None

    def _unwritable(self, error: OSError) -> StartError:
        return StartError(
            f"{self.path}: cannot be written: {error.strerror}. What is in it is kept; "
            "make room, and run the same command again"
        )


def sync_folder(folder: Path) -> None:
    """So that a new file's name outlives a power cut too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write(fd: int, line: bytes) -> None:
    """The system may take less than all of it."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(fd, rest) :]
