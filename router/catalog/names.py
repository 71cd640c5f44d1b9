"""What a model's name says: family, version, size and what it was tuned for. Pure but for the data.

Names of one model differ (`Qwen/Qwen2.5-7B-Instruct-AWQ`, `qwen2.5:7b`), so names are compared by
what they say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter

from common.quality_config import Modality

Kind = Literal["general", "code", "math", "reasoning", "translation", "embedding"]

_FILE = Path(__file__).with_name("families.yaml")
# "30B-A3B" has 30 billion parameters, of which 3 work on a token; "8x7B" has eight experts.
_BILLIONS = re.compile(
    r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?:-a(\d+(?:\.\d+)?)b)?(?![a-z0-9])"
)
_MILLIONS = re.compile(r"(?<![a-z0-9.])(\d+)m(?![a-z0-9])")
_EXPERTS_AT_WORK = 2  # of Mixtral's eight
_KOREAN = re.compile(r"(?:^|-)(?:ko|kor|korean)(?:-|$)")
_BASE = re.compile(r"-(?:base|pt)(?:-|$)")


@dataclass(frozen=True)
class Family:
    family: str
    match: str
    kind: Kind = "general"
    takes: tuple[Modality, ...] = ()
    korean: bool = False
    tools: bool | None = None


@dataclass(frozen=True)
class ModelName:
    """`family` is `series` and version; None where no pattern matches. `size_b`: billions."""

    series: str | None
    family: str | None
    kind: Kind
    size_b: float | None
    active_b: float | None
    takes: tuple[Modality, ...] | None
    korean: bool
    tools: bool | None
    base: bool

    @property
    def effective_b(self) -> float | None:
        """A mixture of experts counts as the geometric mean of all and active: a rule of thumb."""
        if self.size_b is None:
            return None
        return sqrt(self.size_b * (self.active_b or self.size_b))

    @property
    def key(self) -> tuple[str, float, bool] | None:
        """Equal for names of the same model."""
        if self.family is None or self.size_b is None:
            return None
        return self.family, self.size_b, self.base


@cache
def read(name: str) -> ModelName:
    text = re.sub(r"[_:\s]+", "-", name.strip().rstrip("/").rsplit("/", 1)[-1].lower())
    size_b, active_b = _sizes(text)
    family, version = _family(text)
    return ModelName(
        series=family.family if family else None,
        family=f"{family.family}{f' {version}' if version else ''}" if family else None,
        kind=family.kind if family else "general",
        size_b=size_b,
        active_b=active_b,
        takes=family.takes if family else None,
        korean=bool((family and family.korean) or _KOREAN.search(text)),
        tools=family.tools if family else None,
        base=bool(_BASE.search(text)),
    )


def _sizes(text: str) -> tuple[float | None, float | None]:
    if found := _BILLIONS.search(text):
        experts, each, active = found.groups()
        if experts:
            return int(experts) * float(each), _EXPERTS_AT_WORK * float(each)
        return float(each), float(active) if active else None
    if found := _MILLIONS.search(text):
        return int(found[1]) / 1000, None
    return None, None


def _family(text: str) -> tuple[Family | None, str | None]:
    for family, pattern in _families():
        if found := pattern.search(text):
            return family, _version(found)
    return None, None


def _version(found: re.Match[str]) -> str | None:
    """The first group, unless it is a size: the 7 of "gemma-7b" is none."""
    if not found.re.groups or not found[1]:
        return None
    return None if found.string[found.end(1) :].startswith("b") else found[1]


@cache
def _families() -> tuple[tuple[Family, re.Pattern[str]], ...]:
    data = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    found = TypeAdapter(tuple[Family, ...]).validate_python(data)
    return tuple((family, re.compile(family.match)) for family in found)
