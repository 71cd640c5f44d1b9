"""A running Roundhouse as files: where its logs are, and how `ps`, `logs` and `stop` find it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """What one `roundhouse serve` leaves for the other commands, readable by its user only."""

    pid: int
    url: str
    port: int
    log_dir: str
    started_at: float
    token: str = field(repr=False)
    sources: dict[str, str] = field(default_factory=dict, repr=False)  # by model, as configured

    @property
    def file(self) -> Path:
        return state_dir() / "instances" / f"{self.port}.json"

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.file.with_suffix(f".{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(self.file)

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


def state_dir() -> Path:
    """`$XDG_STATE_HOME/roundhouse`, by default `~/.local/state/roundhouse`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "roundhouse"


def log_dir(port: int) -> Path:
    return state_dir() / "logs" / str(port)


def log_path(port: int, replica: str) -> Path:
    return log_dir(port) / f"{slug(replica)}.log"


def slug(name: str) -> str:
    """A model's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def running() -> list[Instance]:
    """Instances whose process lives. Files of dead ones are removed."""
    found = []
    for instance in _saved():
        if _lives(instance):
            found.append(instance)
        else:
            instance.forget()
    return sorted(found, key=lambda instance: instance.port)


def _saved() -> Iterator[Instance]:
    for file in (state_dir() / "instances").glob("*.json"):
        try:
            yield Instance(**json.loads(file.read_text()))
        except (ValueError, TypeError, OSError):
            file.unlink(missing_ok=True)


def _lives(instance: Instance) -> bool:
    import psutil

    try:
        return psutil.Process(instance.pid).create_time() <= instance.started_at + 1
    except psutil.Error:
        return False
