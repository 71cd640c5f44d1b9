"""The models of an Ollama server as models of Roundhouse, each under Ollama's own name for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from common.config import Config, ModelConfig
from common.errors import EngineConnectError, EngineError, StartError
from common.ollama_names import PREFIX, short
from engines.ollama.client import Ollama, down
from engines.ollama.served import server_url
from engines.ollama.told import Listed

Say = Callable[[str], None]


def discover(config: Config, environ: Mapping[str, str], say: Say) -> Config:
    """The config with what the server has; as it was where it does not ask for that.

    A server that does not answer is told and left out. Raises StartError if nothing is left then.
    """
    if not config.ollama.discover:
        return config
    url = server_url(config.ollama.base_url, environ)
    try:
        names = _local(asyncio.run(_models(url)), say)
    except EngineError as error:
        reason = down(url) if isinstance(error, EngineConnectError) else error.message
        if not config.models:
            raise StartError(f"there is no model to serve: {reason}") from None
        say(f"models of Ollama are left out: {reason}")
        return config
    found = with_models(config, names, say)
    if not found.models:
        raise StartError(
            f"there is no model to serve: the Ollama at {url} has none; `ollama pull` fetches one"
        )
    return found


def with_models(config: Config, names: list[str], say: Say) -> Config:
    """Adds what has no entry of that name yet; a name that is taken stays with whose it is."""
    taken = set(config.models) | {
        alias for model in config.models.values() for alias in model.aliases
    }
    models = dict(config.models)
    for name in names:
        if name in taken:
            say(f"Ollama's {name} is left to the model of that name in the config")
            continue
        taken.add(name)
        alias = short(name)
        aliases = (alias,) if alias and alias not in taken and alias not in names else ()
        taken.update(aliases)
        models[name] = ModelConfig(source=f"{PREFIX}{name}", engine="ollama", aliases=aliases)
    return config.model_copy(update={"models": models})


def _local(models: list[Listed], say: Say) -> list[str]:
    """Nobody who asks for what this box has asks for prompts to leave it."""
    for each in models:
        if each.remote_host:
            say(f"Ollama's {each.name} is left out, since it runs at {each.remote_host}")
    return [each.name for each in models if not each.remote_host]


async def _models(url: str) -> list[Listed]:
    async with aiohttp.ClientSession() as session:
        return await Ollama(session, url).models()
