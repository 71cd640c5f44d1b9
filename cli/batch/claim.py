"""OUT.batch, beside a batch's output: which input the output belongs to, and who writes it now."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.batch.journal import sync_folder
from cli.batch.source import Source
from common.errors import StartError, UsageError


@dataclass(frozen=True)
class Claim:
    """What has to be the same for an output to be gone on with."""

    input: str
    sha256: str
    model: str
    max_tokens: int | None

    @classmethod
    def of(cls, source: Source) -> Claim:
        plain = source.plain
        return cls(str(source.path), source.sha256, plain.model, plain.max_tokens)

    def check(self, before: Claim, out: Path) -> None:
        """Raises UsageError. The input may have another name, but must say the same."""
        if self.sha256 != before.sha256:
            raise UsageError(
                f"{self.input}: is not what {out} was begun with (its contents differ from those "
                f"of {before.input} then); put it back, or name another output"
            )
        for name in ("model", "max_tokens"):
            now, then = getattr(self, name), getattr(before, name)
            if now != then:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{flag}: {out} was begun with {then}, not with {now}; "
                    "give the same again, or name another output"
                )


def claim_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.batch")


@contextmanager
def claimed(out: Path, claim: Claim) -> Iterator[None]:
    """Ours alone until the end, even if that is a kill. Raises UsageError or StartError."""
    path = claim_path(out)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        _lock(fd, out)
        before = _read(fd)
        if before:
            claim.check(before, out)
        else:
            _begin(fd, path, out, claim)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, out: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StartError(
            f"{out}: another `roundhouse batch` writes it now; wait for its end, or stop it"
        ) from None


def _read(fd: int) -> Claim | None:
    """None when there is none, or when its writing was cut off: nothing was sent yet then."""
    try:
        return Claim(**json.loads(os.pread(fd, 1 << 20, 0)))
    except (ValueError, TypeError):
        return None


def _begin(fd: int, path: Path, out: Path, claim: Claim) -> None:
    if out.exists() and out.stat().st_size:
        raise UsageError(f"{out}: is there already, and no batch of ours; name another output")
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(claim)).encode(), 0)
        os.fsync(fd)
        sync_folder(path.parent)
    except OSError as error:
        raise StartError(f"{path}: cannot be written: {error.strerror}") from None
