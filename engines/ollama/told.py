"""What Ollama's server says of its models, read from its JSON. Pure.

What it leaves out stays None; newer versions say more than older ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.units import format_bytes

Json = Mapping[str, Any]

_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)\s*$", re.MULTILINE)
_BILLIONS = re.compile(r"([\d.]+)\s*([KMB])", re.IGNORECASE)
_SCALE = {"K": 1e-6, "M": 1e-3, "B": 1.0}
# "For ever" is Go's longest duration from now on, some 290 years.
_FOREVER_S = 100 * 365 * 86400.0
_PERCENT_STEP = 5  # a line a step in a log


@dataclass(frozen=True)
class Listed:
    """One model of `/api/tags`. `remote_host` is set where another machine runs it."""

    name: str
    digest: str
    size_bytes: int | None
    family: str | None
    parameter_size: str | None
    quantization: str | None
    remote_host: str | None = None


@dataclass(frozen=True)
class Shown:
    """`/api/show` of one model. `trained_len` is what it was made for, `num_ctx` what its own
    parameters set; without `num_ctx` the server decides when it loads it."""

    family: str | None
    parameter_size: str | None
    quantization: str | None
    size_b: float | None
    trained_len: int | None
    num_ctx: int | None
    capabilities: frozenset[str] | None

    @property
    def tools(self) -> bool | None:
        return None if self.capabilities is None else "tools" in self.capabilities

    @property
    def embeds_only(self) -> bool:
        """It has no words to say, so a chat cannot go to it."""
        return self.capabilities is not None and "completion" not in self.capabilities

    @property
    def modalities(self) -> frozenset[str] | None:
        if self.capabilities is None:
            return None
        if self.embeds_only:
            return frozenset()
        takes = {"vision": "image", "audio": "audio"}
        return frozenset({"text", *(takes[c] for c in self.capabilities & takes.keys())})


@dataclass(frozen=True)
class Running:
    """One model of `/api/ps`. `until` is in seconds since 1970, infinite for "for ever"."""

    name: str
    vram_bytes: int | None
    until: float | None
    context_len: int | None


@dataclass
class PullProgress:
    """Adds up the lines of `/api/pull`, which tell of one layer at a time."""

    name: str
    _layers: dict[str, tuple[int, int]] = field(default_factory=dict)  # completed, total
    _status: str = ""

    def take(self, line: Json) -> str:
        """What to show after this line."""
        self._status = str(line.get("status") or self._status)
        if line.get("digest") and line.get("total"):
            done = int(line.get("completed") or 0)
            self._layers[str(line["digest"])] = done, int(line["total"])
            return f"pulling {self.name}: {self._share()}"
        return f"pulling {self.name}: {self._status}"

    def _share(self) -> str:
        done = sum(completed for completed, _ in self._layers.values())
        total = sum(size for _, size in self._layers.values())
        percent = int(100 * done / total) // _PERCENT_STEP * _PERCENT_STEP
        return f"{percent} % of {format_bytes(total)}"


def listed(answer: Json) -> list[Listed]:
    return [_listed(each) for each in answer.get("models") or ()]


def _listed(model: Json) -> Listed:
    details = model.get("details") or {}
    return Listed(
        name=str(model.get("model") or model["name"]),
        digest=str(model.get("digest") or ""),
        size_bytes=model.get("size"),
        family=details.get("family") or None,
        parameter_size=details.get("parameter_size") or None,
        quantization=details.get("quantization_level") or None,
        remote_host=model.get("remote_host") or None,
    )


def shown(answer: Json) -> Shown:
    details, info = answer.get("details") or {}, answer.get("model_info") or {}
    num_ctx = _NUM_CTX.search(answer.get("parameters") or "")
    capabilities = answer.get("capabilities")
    parameter_size = details.get("parameter_size") or None
    count = info.get("general.parameter_count")
    return Shown(
        family=details.get("family") or info.get("general.architecture"),
        parameter_size=parameter_size,
        quantization=details.get("quantization_level") or None,
        size_b=count / 1e9 if count else _billions(parameter_size),
        trained_len=info.get(f"{info.get('general.architecture')}.context_length"),
        num_ctx=int(num_ctx[1]) if num_ctx else None,
        capabilities=None if capabilities is None else frozenset(map(str, capabilities)),
    )


def running(answer: Json, now: float) -> list[Running]:
    """`now` in seconds since 1970, to know "for ever" from a time."""
    return list(_running(answer.get("models") or (), now))


def _running(models: Iterable[Json], now: float) -> Iterable[Running]:
    for model in models:
        yield Running(
            name=str(model.get("model") or model["name"]),
            vram_bytes=model.get("size_vram"),
            until=_until(model.get("expires_at"), now),
            context_len=model.get("context_length") or None,
        )


def _until(text: str | None, now: float) -> float | None:
    try:
        at = datetime.fromisoformat(text or "").timestamp()
    except (ValueError, OverflowError):
        return None
    return math.inf if at - now > _FOREVER_S else at


def _billions(parameter_size: str | None) -> float | None:
    """From "3.2B" or "137M"."""
    match = _BILLIONS.fullmatch(parameter_size or "")
    try:
        return float(match[1]) * _SCALE[match[2].upper()] if match else None
    except ValueError:
        return None
