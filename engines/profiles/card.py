"""The front matter of a model card (README.md): licence, languages, what it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

_FRONT = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Card:
    license: str | None = None
    languages: tuple[str, ...] = ()
    base_model: str | None = None
    task: str | None = None  # the hub's pipeline_tag, such as text-generation


def read(text: str) -> Card:
    """An empty one where there is no front matter, or none that is YAML."""
    match = _FRONT.match(text)
    try:
        found = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        found = None
    return of(found) if isinstance(found, dict) else Card()


def of(data: dict[str, Any]) -> Card:
    return Card(
        license=_license(data),
        languages=tuple(_texts(data.get("language"))),
        base_model=next(iter(_texts(data.get("base_model"))), None),
        task=next(iter(_texts(data.get("pipeline_tag"))), None),
    )


def _license(data: dict[str, Any]) -> str | None:
    """`other` stands for a licence of the publisher's own, which has its name beside it."""
    name = next(iter(_texts(data.get("license"))), None)
    own = data.get("license_name")
    return str(own) if own and name in {None, "other"} else name


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(each) for each in values if isinstance(each, str | int | float)]
