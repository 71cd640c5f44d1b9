"""The models of the config that an Ollama server runs, by the server that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common import ollama_host
from common.config import Config
from common.errors import ConfigError
from common.keep_alive import KeepAlive
from common.ollama_names import bare


@dataclass(frozen=True)
class Served:
    """One model. `name` is Ollama's, `model` the one that clients use."""

    id: str
    model: str
    name: str
    url: str
    keep_alive: KeepAlive | None = None
    pull: bool = False


def served(config: Config, environ: Mapping[str, str]) -> list[Served]:
    return [_served(config, name, environ) for name in config.models if _is_ours(config, name)]


def server_url(given: str | None, environ: Mapping[str, str]) -> str:
    """Raises ConfigError when OLLAMA_HOST, which stands in where none is given, is no address."""
    try:
        return ollama_host.base_url(given, environ)
    except ValueError as error:
        raise ConfigError(f"{ollama_host.VARIABLE}: {error}") from None


def by_server(models: list[Served]) -> dict[str, list[Served]]:
    servers: dict[str, list[Served]] = {}
    for each in models:
        servers.setdefault(each.url, []).append(each)
    return servers


def _is_ours(config: Config, name: str) -> bool:
    return config.engine_of(name) == "ollama"


def _served(config: Config, name: str, environ: Mapping[str, str]) -> Served:
    model, defaults = config.models[name], config.ollama
    keep_alive = defaults.keep_alive if model.keep_alive is None else model.keep_alive
    return Served(
        id=f"{name}-0",
        model=name,
        name=bare(model.sources[0]),
        url=server_url(model.base_url or defaults.base_url, environ),
        keep_alive=keep_alive,
        pull=defaults.pull if model.pull is None else model.pull,
    )
