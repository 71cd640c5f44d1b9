"""The models that somebody else runs: their replicas, and whoever looks how they are."""

from __future__ import annotations

import asyncio
import os

import aiohttp

from common.config import Config
from engines.base import EngineStatus, State
from engines.endpoint import Remote, remotes_of
from engines.ollama.served import by_server, served
from engines.ollama.watch import watch_server
from engines.remote import Report, watch_remote
from gateway.ollama import of_ollama
from router.replicas import Replica


def far_replicas(config: Config, *, assume_up: bool = False) -> list[Replica]:
    """Raises ConfigError when a key is not where it should be. `assume_up`: while nobody has
    looked, requests are sent to remote ones, since they did not wait for that before."""
    replicas = [_remote(config, each) for each in remotes_of(config)]
    if assume_up:
        for replica, remote in zip(replicas, remotes_of(config), strict=True):
            replica.update(EngineStatus(State.READY, url=remote.url))
    return replicas + [of_ollama(config, each) for each in served(config, os.environ)]


class Watches:
    """Looks after all of a config. Belongs to the gateway's event loop."""

    def __init__(self, session: aiohttp.ClientSession, report: Report) -> None:
        self._session = session
        self._report = report
        self._watches: list[asyncio.Task[None]] = []

    def follow(self, config: Config) -> None:
        """From now on these, and no others."""
        self.close()
        servers = by_server(served(config, os.environ))
        looks = [watch_remote(each, self._session, self._report) for each in remotes_of(config)]
        looks += [
            watch_server(url, each, self._session, self._report) for url, each in servers.items()
        ]
        self._watches = [asyncio.create_task(look) for look in looks]

    def close(self) -> None:
        for watch in self._watches:
            watch.cancel()


def _remote(config: Config, remote: Remote) -> Replica:
    limit = config.max_in_flight_of(remote.model)
    return Replica(remote.id, remote.model, limit, endpoint=remote.endpoint)
