"""Ollama's own API, as far as a model's life needs it. Nothing here can delete a model.

To free its memory a model gets an empty prompt with `keep_alive: 0`; `/api/delete`, which some
take for that, removes it from the disk.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import aiohttp

from common.errors import EngineConnectError, EngineError, ModelFetchError
from common.keep_alive import KeepAlive
from engines.ollama import told
from engines.ollama.told import Json, Listed, PullProgress, Running, Shown

T = TypeVar("T")
_NOT_FOUND = 404
_QUICK = aiohttp.ClientTimeout(total=5)
# A load or a download takes as long as it takes; silence for so long is none of both.
_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600)


class Ollama:
    """One server. Every method raises EngineConnectError when nobody answers, else EngineError."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session

    async def version(self) -> str | None:
        answer = await self._ask("GET", "/api/version", _QUICK)
        return str(answer["version"]) if answer and "version" in answer else None

    async def models(self) -> list[Listed]:
        return self._read(told.listed, await self._ask("GET", "/api/tags", _QUICK))

    async def show(self, name: str) -> Shown | None:
        """None when the server has no such model."""
        answer = await self._ask("POST", "/api/show", _QUICK, {"model": name})
        return None if answer is None else self._read(told.shown, answer)

    async def running(self) -> list[Running]:
        answer = await self._ask("GET", "/api/ps", _QUICK)
        return self._read(partial(told.running, now=time.time()), answer)

    async def load(
        self, name: str, keep_alive: KeepAlive | None = None, *, embeds_only: bool = False
    ) -> None:
        """Into memory, or if it is there: from now on it stays as `keep_alive` says."""
        # A model without words refuses an empty prompt, and loads for an empty list of inputs.
        path = "/api/embed" if embeds_only else "/api/generate"
        body: dict[str, Any] = {"model": name, "stream": False}
        if embeds_only:
            body["input"] = []
        if keep_alive is not None:
            body["keep_alive"] = keep_alive.as_number
        if await self._ask("POST", path, _PATIENT, body) is None:
            raise EngineError(missing(name))

    async def unload(self, name: str) -> None:
        """Frees its memory when its last request is done; it stays on the disk."""
        body = {"model": name, "keep_alive": 0, "stream": False}
        if await self._ask("POST", "/api/generate", _PATIENT, body) is None:
            raise EngineError(missing(name))

    async def pull(self, name: str) -> AsyncIterator[str]:
        """Downloads the model; yields what to show. Raises ModelFetchError when it cannot be had.

        A download that was broken off goes on where it was.
        """
        progress = PullProgress(name)
        done = False
        async with self._answer("POST", "/api/pull", _PATIENT, {"model": name}) as answer:
            async for line in answer.content:
                if not line.strip():
                    continue
                step: Json = json.loads(line)
                if "error" in step:
                    raise ModelFetchError(f"Ollama could not pull {name}: {step['error']}")
                done = step.get("status") == "success"
                yield progress.take(step)
        if not done:
            raise ModelFetchError(f"Ollama broke off the pull of {name}; try again")

    async def _ask(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, body: Json | None = None
    ) -> dict[str, Any] | None:
        """None for a 404: the server knows the model no more than we do."""
        async with self._answer(method, path, limits, body) as answer:
            if answer.status == _NOT_FOUND:
                return None
            said = json.loads(await answer.read())
        if not isinstance(said, dict):
            raise self._odd(said)
        return said

    def _read(self, parse: Callable[[Json], T], answer: Json | None) -> T:
        try:
            return parse(answer or {})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._odd(answer) from error

    def _odd(self, said: object) -> EngineError:
        return EngineError(f"{self.url} answers as no Ollama would: {str(said)[:100]}")

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, body: Json | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        where = f"{self.url}{path}"
        try:
            async with self._session.request(method, where, json=body, timeout=limits) as answer:
                if answer.status >= 400 and answer.status != _NOT_FOUND:
                    raise EngineError(f"{where}: HTTP {answer.status}: {await _reason(answer)}")
                yield answer
        except (aiohttp.ClientConnectionError, TimeoutError) as error:
            raise EngineConnectError(f"{where}: {type(error).__name__}") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise EngineError(f"{where}: {error}") from None


def missing(name: str) -> str:
    return (
        f"Ollama has no model {name!r}: `ollama pull {name}` fetches it, "
        "or `pull: true` in the config"
    )


def down(url: str) -> str:
    return (
        f"no Ollama answers at {url}: start it with `ollama serve`, "
        "or set base_url or OLLAMA_HOST to where it listens"
    )


async def _reason(answer: aiohttp.ClientResponse) -> str:
    text = (await answer.read()).decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
