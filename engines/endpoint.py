"""An endpoint that somebody else runs: where it is, how to speak to it, and the key it wants."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common.config import Config, ModelConfig
from common.errors import ConfigError
from common.remote_config import PRESETS, REMOTE_ENGINES, Preset, RemoteConfig
from engines.prices import Price, per_million, price_of

_VERSION = b"2023-06-01"  # of Anthropic's API, in which our own requests are written


@dataclass(frozen=True)
class Endpoint:
    """`model` is its name there, None where the one that was asked holds. `has_v1`: its paths
    begin with /v1, as ours do. `key_place` says where the key was found, for messages."""

    engine: str
    model: str | None = None
    key: str = field(default="", repr=False)
    key_place: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    has_v1: bool = True
    max_tokens: int = 4096
    watched: bool = True
    price: Price | None = field(default=None, repr=False, compare=False)

    def path(self, path: str) -> str:
        """A path of ours as the endpoint knows it."""
        return path if self.has_v1 else path.removeprefix("/v1")

    def own_headers(self, version: bytes | None = None) -> list[tuple[bytes, bytes]]:
        """The key, and what the config adds. `version` is the client's, of Anthropic's API.

        That version's documents want `x-api-key`; Anthropic's SDK (2.12), which asks for a later
        one, sends the key as a Bearer token.
        """
        headers = [*self.headers]
        is_dated = self.engine == "anthropic" and version in (None, _VERSION)
        if self.key and is_dated:
            headers.append((b"x-api-key", self.key.encode()))
        elif self.key:
            headers.append((b"authorization", b"Bearer " + self.key.encode()))
        if self.engine == "anthropic" and b"anthropic-version" not in dict(self.headers):
            headers.append((b"anthropic-version", version or _VERSION))
        return headers


@dataclass(frozen=True)
class Remote:
    """One URL of a model. `url` is without the `/v1` that base URLs end in."""

    id: str
    model: str
    url: str
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("openai"))


def remotes_of(config: Config) -> list[Remote]:
    """All of them, with their keys. Raises ConfigError when a key is not where it should be."""
    return [
        _remote(config, name, index, source)
        for name, model in config.models.items()
        if config.engine_of(name) in REMOTE_ENGINES
        for index, source in enumerate(model.sources)
    ]


def cost_per_million_tokens(config: Config, name: str) -> float | None:
    """The config's word; of a remote model without one what follows from its price, in dollars."""
    model, engine = config.models[name], config.engine_of(name)
    if model.cost_per_million_tokens is not None or engine not in REMOTE_ENGINES:
        return model.cost_per_million_tokens
    return per_million(_price(name, model, engine, model.sources[0]))


def price(config: Config, name: str) -> Price | None:
    """Of a remote model; None where it is unknown, and for a model that runs here."""
    model, engine = config.models[name], config.engine_of(name)
    return _price(name, model, engine, model.sources[0]) if engine in REMOTE_ENGINES else None


def _remote(config: Config, name: str, index: int, source: str) -> Remote:
    model, base = config.models[name], _base(source)
    has_v1 = base.endswith("/v1") or not urlsplit(base).path
    endpoint = _endpoint(name, model, config.engine_of(name), source, has_v1=has_v1)
    return Remote(f"{name}-{index}", name, base.removesuffix("/v1"), endpoint)


def _base(source: str) -> str:
    preset = PRESETS.get(source)
    return (preset.base_url if preset else source).rstrip("/")


def _endpoint(name: str, model: ModelConfig, engine: str, source: str, *, has_v1: bool) -> Endpoint:
    remote = model.remote or RemoteConfig()
    key, place = _key(name, remote, PRESETS.get(source))
    return Endpoint(
        engine=engine,
        model=_asked(name, model, engine),
        key=key,
        key_place=place,
        headers=tuple((k.lower().encode(), v.encode()) for k, v in remote.headers.items()),
        has_v1=has_v1,
        max_tokens=remote.max_tokens,
        watched=remote.health,
        price=_price(name, model, engine, source),
    )


def _asked(name: str, model: ModelConfig, engine: str) -> str | None:
    """Its name there. Anthropic's API knows no aliases of ours, so the entry's own stands in."""
    return (model.remote and model.remote.model) or (name if engine == "anthropic" else None)


def _price(name: str, model: ModelConfig, engine: str, source: str) -> Price | None:
    preset = PRESETS.get(source)
    asked = _asked(name, model, engine) or name
    return price_of(model.price, preset.prices if preset else None, _base(source), asked)


def _key(name: str, remote: RemoteConfig, preset: Preset | None) -> tuple[str, str]:
    """The key, and the words for where it came from."""
    if remote.api_key_file is not None:
        return _from_file(name, remote.api_key_file)
    variable = remote.api_key_env or (preset.api_key_env if preset else None)
    if variable is None:
        return "", ""
    place = f"models.{name}.remote.api_key_env"
    value = os.environ.get(variable, "").strip()
    return _sendable(value, f"{place}: the environment variable {variable}"), variable


def _from_file(name: str, path: Path) -> tuple[str, str]:
    place = f"models.{name}.remote.api_key_file: {path}"
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place} cannot be read ({type(error).__name__})") from None
    return _sendable(text.strip(), place), str(path)


def _sendable(key: str, place: str) -> str:
    """Never names the key itself."""
    if not key:
        raise ConfigError(f"{place} holds no key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{place} holds more than one line or word, so it is no key")
    return key
