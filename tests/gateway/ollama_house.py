"""A gateway over an Ollama server, whose models are watched."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx

from common.config import Config
from engines.base import EngineStatus, State
from engines.ollama.served import by_server, served
from engines.ollama.watch import watch_server
from gateway.ollama import of_ollama
from router.replicas import Replica
from tests.gateway.house import House


class OllamaHouse(House):
    """A House whose replicas are looked after as the router's actor does it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.models = served(config, {})
        for each in self.models:
            self.dispatcher.replicas[each.id].served_as = of_ollama(config, each).served_as
            self.dispatcher.report(each.id, EngineStatus(State.STARTING))

    def watch(self) -> None:
        async def begin() -> None:
            loop, session = self._loop, self.gateway.session
            report = self.dispatcher.report
            self._watches = [
                loop.create_task(watch_server(url, models, session, report))
                for url, models in by_server(self.models).items()
            ]

        self.call(begin())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(lambda: [each.cancel() for each in self._watches])
        super().stop()

    def replica(self, model: str = "m") -> Replica:
        return self.dispatcher.replicas[f"{model}-0"]

    def row(self, model: str = "m") -> dict[str, Any]:
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            rows = client.get("/admin/replicas").json()["replicas"]
        found: dict[str, Any] = next(row for row in rows if row["model"] == model)
        return found
