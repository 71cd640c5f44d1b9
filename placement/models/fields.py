"""Reads a config.json's fields by any of the names that model families give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_TEXT_SECTIONS = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "language_model_config",
    "llama_config",
)


class Fields:
    """A config's fields, looked up under several names; what is missing is gathered."""

    def __init__(
        self, values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> None:
        self._values = {key: value for key, value in values.items() if value is not None}
        self._defaults = defaults or {}
        self.missing: list[str] = []
        self.notes: list[str] = []

    def given(self, *names: str) -> Any:
        """The first of these that the config itself says; None where it is silent."""
        return next((self._values[name] for name in names if name in self._values), None)

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of these that the config says, else the family's default, else `default`."""
        value = self.given(*names)
        if value is not None:
            return value
        return next((self._defaults[name] for name in names if name in self._defaults), default)

    def number(self, *names: str, default: int = 0) -> int:
        value = self.get(*names)
        return value if isinstance(value, int) else int(value) if _numeric(value) else default

    def need(self, *names: str) -> int:
        """A number without which nothing can be computed."""
        value = self.get(*names)
        if _numeric(value) and float(value) > 0:
            return int(value)
        self.missing.append(names[0])
        return 1

    def flag(self, *names: str, default: bool = False) -> bool:
        return bool(self.get(*names, default=default))

    def listing(self, *names: str) -> Sequence[Any]:
        value = self.get(*names)
        return value if isinstance(value, list | tuple) else ()

    def section(self, *names: str) -> Mapping[str, Any]:
        value = self.get(*names)
        return value if isinstance(value, Mapping) else {}

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def text_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The language model's fields: those of a nested section over those of the whole."""
    merged = {key: value for key, value in config.items() if key not in _TEXT_SECTIONS}
    for name in _TEXT_SECTIONS:
        section = config.get(name)
        if isinstance(section, Mapping):
            merged |= {k: v for k, v in text_values(section).items() if v is not None}
    mla = merged.pop("mla", None)
    return merged | dict(mla) if isinstance(mla, Mapping) else merged


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
