"""A gateway in a thread of its own over fake engines, and what tests ask of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvicorn
import uvloop

from common.config import Config
from engines.base import EngineStatus, State
from gateway.app import Gateway
from gateway.keeper import Keeper
from gateway.listener import listen, server_config
from router.dispatch import Dispatcher
from router.replicas import Replica

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
T = TypeVar("T")


class House:
    """Runs a Gateway in a thread, as the router's actor does. Its replicas report themselves
    ready once; nobody looks after them then."""

    def __init__(self, config: Config, admin_token: str = "") -> None:
        replicas = self.replicas(config)
        self.dispatcher = Dispatcher(config, replicas)
        self.gateway = Gateway(config, self.dispatcher, admin_token, self.keeper(config))
        for pid, (replica, url) in enumerate(replicas.items(), start=1):
            self.dispatcher.report(
                replica.id, EngineStatus(State.READY, url=url, pid=pid, max_model_len=2048 * pid)
            )
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), name="house")

    def keeper(self, config: Config) -> Keeper | None:
        """Of a house whose models come and go."""
        return None

    def replicas(self, config: Config) -> dict[Replica, str]:
        """Each with its URL."""
        return {
            Replica(f"{name}-{i}", name, config.max_in_flight_of(name)): url
            for name, model in config.models.items()
            for i, url in enumerate(model.sources)
        }

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "a request did not end when its client had gone"

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = 20) -> T:
        """Runs a coroutine in the gateway's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def report(self, replica_id: str, status: EngineStatus | None) -> None:
        async def tell() -> None:
            self.dispatcher.report(replica_id, status)

        self.call(tell())

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self.gateway.start()
        config = server_config(self.gateway)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[self._socket])
        self._started.set()
        await self._stopping.wait()
        await self._hang_up(server)
        await self.gateway.stop()

    async def _hang_up(self, server: uvicorn.Server) -> None:
        """As if every client had gone at once; then nothing may be left running."""
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        self._socket.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*server.server_state.tasks, return_exceptions=True)


def ask(tokens: int = 3, **more: Any) -> dict[str, Any]:
    """A request that both OpenAI's and Anthropic's surface take."""
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "m", "messages": messages, "max_tokens": tokens} | more


def events(text: str) -> list[str]:
    """The data of every event of a stream."""
    lines = text.split("\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def contents(text: str) -> str:
    """What a chat stream says."""
    deltas = [json.loads(e)["choices"][0]["delta"] for e in events(text) if '"delta"' in e]
    return "".join(delta["content"] for delta in deltas)


def eventually(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)
