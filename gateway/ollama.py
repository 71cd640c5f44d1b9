"""A model of an Ollama server as a replica: its bytes pass, but for Ollama's own name for it."""

from __future__ import annotations

from common.config import Config
from engines.ollama.served import Served
from router.replicas import Replica


def of_ollama(config: Config, served: Served) -> Replica:
    limit = config.max_in_flight_of(served.model)
    return Replica(served.id, served.model, limit, served_as=served.name)
