"""`roundhouse load` and `roundhouse unload`: a model into memory and out of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cli.client import Client, ask
from cli.listing import print_json
from cli.progress import say
from common.errors import EngineLoadError
from common.units import format_bytes

_LOOK_PERIOD_S = 0.3
_IS_THERE = frozenset({"ready"})
_IS_GONE = frozenset({"cold", "failed", "absent"})
Row = dict[str, Any]


def load(model: str, port: int | None, keep_alive: str | None, *, wait: bool, json: bool) -> None:
    """Raises UsageError for a name that there is none of, EngineLoadError when it fails."""
    _, client = ask(port)
    row = client.load(model, keep_alive)
    if wait:
        row = _wait(client, row, lambda row: row["state"] in _IS_THERE)
    _tell(row, json)


def unload(model: str, port: int | None, *, wait: bool, json: bool) -> None:
    _, client = ask(port)
    row = client.unload(model)
    if wait:
        row = _wait(client, row, lambda row: row["state"] in _IS_GONE)
    _tell(row, json)


def _wait(client: Client, row: Row, is_done: Callable[[Row], bool]) -> Row:
    told = ""
    while not is_done(row):
        if row["error"]:
            raise EngineLoadError(f"{row['id']}: {row['error']}")
        if row["state"] != told:
            told = row["state"]
            say(f"{row['id']}: {told}")
        time.sleep(_LOOK_PERIOD_S)
        row = client.life(row["id"])
    return row


def _tell(row: Row, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    amounts = row["real_bytes"] or row["held_bytes"] or {}
    takes = ", ".join(f"{format_bytes(n)} on {device}" for device, n in amounts.items() if n)
    print(f"{row['id']}: {row['state']}{f' ({takes})' if takes else ''}")
