"""Talks to a running Roundhouse from another process, with the token of its instance file."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx

from common.errors import NotAnsweringError, StartError, UsageError
from common.instance import Instance, running

ONE_CALL_A_CONNECTION = httpx.Limits(max_keepalive_connections=0)  # so nothing has to be closed


class Client:
    """The few calls that the command line makes. They raise NotAnsweringError."""

    def __init__(self, instance: Instance) -> None:
        self.url = instance.url
        self._http = httpx.Client(
            base_url=instance.url,
            headers={"Authorization": f"Bearer {instance.token}"} if instance.token else {},
            timeout=10,
            limits=ONE_CALL_A_CONNECTION,
            trust_env=False,
        )

    @classmethod
    def at(cls, url: str, token: str) -> Client:
        """One that may run anywhere."""
        return cls(Instance(pid=0, url=url, port=0, log_dir="", started_at=0.0, token=token))

    def replicas(self) -> dict[str, Any]:
        return self._get("/admin/replicas")

    def models(self) -> list[dict[str, Any]]:
        """The served models and their aliases; `auto` and its kin, which choose among them, not."""
        listed = self._get("/v1/models")["data"]
        return [each for each in listed if each["root"] != "auto"]

    def route(self, prompt: str) -> dict[str, Any]:
        """What `auto` would do with it now."""
        return self._call("POST", "/v1/route", {"prompt": prompt})

    def scores(self) -> list[dict[str, Any]]:
        """How good each model is taken to be at each task."""
        scores: list[dict[str, Any]] = self._get("/admin/feedback")["scores"]
        return scores

    def _get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotAnsweringError(f"{self.url} does not answer: {error}") from None
        if answer.status_code != 200:
            raise NotAnsweringError(
                f"{self.url}{path} answers HTTP {answer.status_code}{_why(answer)}"
            )
        told: dict[str, Any] = answer.json()
        return told


def _why(answer: httpx.Response) -> str:
    """The server's own words, but where the number says it all."""
    if answer.status_code in (401, 404):
        return ""
    try:
        return f": {answer.json()['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return ""


def find(port: int | None) -> Instance:
    """The running Roundhouse, or the one on `port`. Raises StartError or UsageError."""
    instances = running()
    chosen = [i for i in instances if port in (None, i.port)]
    if not chosen:
        where = f" on port {port}" if port else ""
        raise StartError(f"no Roundhouse runs{where}; start one with `roundhouse serve`")
    if len(chosen) > 1:
        ports = ", ".join(str(i.port) for i in chosen)
        raise UsageError(f"several run, on ports {ports}: choose one with --port")
    return chosen[0]


def ask(port: int | None) -> tuple[Instance, Client]:
    instance = find(port)
    return instance, Client(instance)
