"""A gateway over fakes of cloud APIs, with the endpoints that the config describes."""

from __future__ import annotations

from typing import Any

from common.config import Config
from engines.endpoint import remotes_of
from router.replicas import Replica
from tests.fakes.clouds import FakeCloud
from tests.gateway.house import House

VARIABLE = "KEY_OF_THE_PROVIDER"
CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class FarHouse(House):
    """Its replicas speak to their endpoints as those of the router's actor do."""

    def replicas(self, config: Config) -> dict[Replica, str]:
        return {
            Replica(each.id, each.model, 8, endpoint=each.endpoint): each.url
            for each in remotes_of(config)
        }


def gpt(cloud: FakeCloud, path: str = "/v1", **more: Any) -> dict[str, Any]:
    """A model's entry."""
    remote = {"model": "gpt-fake", "api_key_env": VARIABLE} | more.pop("remote", {})
    return {"engine": "openai", "source": f"{cloud.url}{path}", "remote": remote, **more}


def claude(cloud: FakeCloud, **more: Any) -> dict[str, Any]:
    remote = {"model": "claude-fake-1", "api_key_env": VARIABLE} | more.pop("remote", {})
    return {"engine": "anthropic", "source": cloud.url, "remote": remote, **more}
