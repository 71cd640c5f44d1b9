"""What a model is, as its files tell: the value of each trait and the file that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# In the order in which they are shown.
TRAITS = (
    "format",
    "architecture",
    "params",
    "active_params",
    "quantization",
    "bits_per_weight",
    "max_model_len",
    "modalities",
    "chat_template",
    "tools",
    "license",
    "languages",
    "base_model",
    "weights_bytes",
    "kv_bytes_per_request",
)


@dataclass(frozen=True)
class Trait:
    """`origin` names where it was read: config.json, GGUF metadata, README.md, config, ..."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Found:
    """Traits by name; what is not known is not in it."""

    traits: Mapping[str, Trait] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def get(self, name: str) -> Any:
        trait = self.traits.get(name)
        return trait.value if trait else None

    def over(self, other: Found) -> Found:
        """Both, where this one wins."""
        return Found({**other.traits, **self.traits}, (*self.notes, *other.notes))


def found(origin: str, **values: Any) -> Found:
    """None and the empty are not known."""
    known = {name: value for name, value in values.items() if value not in (None, (), "")}
    return Found({name: Trait(value, origin) for name, value in known.items()})
