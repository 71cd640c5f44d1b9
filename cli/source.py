"""Where `route` has its facts from: a Roundhouse that runs, or the config alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cli.client import Client, find
from common.config import Config
from common.errors import UsageError
from common.instance import running

KEY_VARIABLE = "ROUNDHOUSE_API_KEY"
ALONE = "by the config alone, as if every model were up and idle"


@dataclass(frozen=True)
class Source:
    """`url` or `port` must answer; that of the config, or any at all, is asked where it runs."""

    config_path: Path | None = None
    port: int | None = None
    url: str | None = None
    offline: bool = False

    @cached_property
    def config(self) -> Config:
        from cli.serve import load_config

        return load_config(self.config_path, (), None, None)

    def client(self) -> Client | None:
        """None when nothing runs. Raises UsageError when it is not clear which one is meant."""
        if self.offline:
            if self.url or self.port:
                raise UsageError("--offline asks nobody; leave out --url and --port")
            return None
        if self.url:
            return _at(self.url)
        if self.port:
            return Client(find(self.port))
        if self.config_path:
            wanted = self.config.server.port
            return next((Client(i) for i in running() if i.port == wanted), None)
        return Client(find(None)) if running() else None


def _at(url: str) -> Client:
    """With the token of an instance of ours, else the key of the environment."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url!r}: must begin with http:// or https://")
    base = url.rstrip("/").removesuffix("/v1")
    ours = next((instance for instance in running() if instance.url == base), None)
    return Client(ours) if ours else Client.at(base, os.environ.get(KEY_VARIABLE, ""))
