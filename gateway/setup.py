"""What a server runs by, as a file: the router goes on from it, and `config apply` begins with it.

The files are this user's alone, like the instance file, which holds the same token. So a new setup
reaches the router by the disk, and a request only names it: a key for the API cannot make one.
"""

from __future__ import annotations

import pickle
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from common.config import Config
from common.errors import BadRequestError
from common.instance import state_dir
from engines.base import ReplicaSpec
from engines.manager.roster import Roster
from placement.plan.timetable import Timetable

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Setup:
    """`before`: the id of the one that it was made from. The plan holds the inventory of the
    server's start. `token` tells one server from the next on the same port."""

    config: Config
    plan: Timetable
    specs: tuple[ReplicaSpec, ...]
    roster: Roster
    token: str = field(repr=False)
    before: str = ""
    path: str = ""  # of the config's file
    leaving: tuple[ReplicaSpec, ...] = ()  # of the one before, where something of it may still run
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def save(self) -> None:
        """As the one that is in force."""
        self._write(_path(self.config.server.port))

    def stage(self) -> None:
        """To be taken up by a router."""
        self._write(_path(self.config.server.port, self.id))

    def unstage(self) -> None:
        _path(self.config.server.port, self.id).unlink(missing_ok=True)

    def forget(self) -> None:
        """With all that was staged."""
        port = self.config.server.port
        for file in (_path(port), *_folder().glob(f"{port}.*.setup")):
            file.unlink(missing_ok=True)

    def _write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_bytes(pickle.dumps(self))
        partial.replace(path)


def in_force(port: int, token: str) -> Setup | None:
    """None where there is none of that server."""
    return _read(_path(port), token)


def staged(port: int, setup_id: str, token: str) -> Setup:
    """Raises BadRequestError."""
    found = _read(_path(port, setup_id), token) if _ID.fullmatch(setup_id) else None
    if found is None:
        raise BadRequestError("there is no such setup; `roundhouse config apply` makes one")
    return found


def _read(path: Path, token: str) -> Setup | None:
    try:
        setup = pickle.loads(path.read_bytes())  # noqa: S301  # this user's own file
    except FileNotFoundError:
        return None
    return setup if isinstance(setup, Setup) and setup.token == token else None


def _folder() -> Path:
    return state_dir() / "setups"


def _path(port: int, setup_id: str = "") -> Path:
    return _folder() / (f"{port}.{setup_id}.setup" if setup_id else f"{port}.setup")
