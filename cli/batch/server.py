"""Where a batch is sent: a Roundhouse on this box, or any OpenAI-compatible endpoint by its URL."""

from __future__ import annotations

import os
from typing import Any

from cli.client import Client, find
from cli.source import KEY_VARIABLE
from common.errors import NotAnsweringError, UsageError
from common.instance import Instance, running

DEFAULT_CONCURRENCY = 8
_MOST = 32  # of our own choice: beyond it a batch crowds out other clients


class Server:
    """Its address and its key. A Roundhouse of this box has another token after a restart."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key

    @classmethod
    def found(cls, port: int | None, url: str | None) -> Server:
        """Raises StartError when nothing runs, UsageError when it is not clear what is meant."""
        if url is None:
            instance = find(port)
            return cls(instance.url, instance.token)
        if port is not None:
            raise UsageError("--port and --url exclude each other")
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"--url {url!r}: must begin with http:// or https://")
        base = url.rstrip("/").removesuffix("/v1")
        return cls(base, _key_of(base))

    def has_other_key_than(self, used: str) -> bool:
        """Whether it has been started anew since `used` was its key."""
        if self.key == used and (instance := _instance_at(self.url)):
            self.key = instance.token
        return self.key != used

    def concurrency(self) -> int:
        """By how much its ready replicas take at once; 8 where it does not tell."""
        try:
            rows = Client.at(self.url, self.key).replicas()["replicas"]
        except (NotAnsweringError, KeyError, ValueError, TypeError):
            return DEFAULT_CONCURRENCY
        return concurrency_of(rows)


def concurrency_of(replicas: list[dict[str, Any]]) -> int:
    takes = sum(r["max_in_flight"] for r in replicas if r["state"] == "ready")
    return min(takes, _MOST) or DEFAULT_CONCURRENCY


def _key_of(url: str) -> str:
    """The token of an instance of ours, else the key of the environment."""
    ours = _instance_at(url)
    return ours.token if ours else os.environ.get(KEY_VARIABLE, "")


def _instance_at(url: str) -> Instance | None:
    return next((instance for instance in running() if instance.url == url), None)
