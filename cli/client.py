"""Talks to a running Roundhouse from another process, with the token of its instance file."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx2 as httpx

from common.errors import EngineLoadError, NotAnsweringError, StartError, UsageError
from common.instance import Instance, running

_TIMEOUT_S = 10.0
_APPLY_TIMEOUT_S = 60.0
_LOAD_TIMEOUT_S = 600.0  # an Ollama server answers when it has loaded
ONE_CALL_A_CONNECTION = httpx.Limits(max_keepalive_connections=0)  # so nothing has to be closed


class Client:
    """The few calls that the command line makes. They raise NotAnsweringError."""

    def __init__(self, instance: Instance) -> None:
        self.url = instance.url
        self._http = httpx.Client(
            base_url=instance.url,
            headers={"Authorization": f"Bearer {instance.token}"} if instance.token else {},
            timeout=_TIMEOUT_S,
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
        """The served models and their aliases; not `auto`, and no ensembles, which ask them."""
        listed = self._get("/v1/models")["data"]
        return [each for each in listed if each["root"] not in ("auto", "ensemble")]

    def route(self, prompt: str, **wish: Any) -> dict[str, Any]:
        """What `auto` would do with it now, or the `model` that is wished for: an ensemble."""
        return self._call("POST", "/v1/route", {"prompt": prompt, **wish})

    def scores(self) -> list[dict[str, Any]]:
        """How good each model is taken to be at each task."""
        scores: list[dict[str, Any]] = self._get("/admin/feedback")["scores"]
        return scores

    def life(self, model: str) -> dict[str, Any]:
        """Whether it is loaded, what it takes, who uses it."""
        return self._get(f"/admin/models/{_quoted(model)}")

    def load(self, model: str, keep_alive: str | None = None) -> dict[str, Any]:
        """Its life when the load has begun. Raises UsageError or EngineLoadError."""
        return self._wish(model, "load", {} if keep_alive is None else {"keep_alive": keep_alive})

    def unload(self, model: str) -> dict[str, Any]:
        return self._wish(model, "unload", {})

    def apply(self, setup: str) -> dict[str, Any]:
        """What has changed. Raises UsageError."""
        answer = self._answer("POST", "/admin/config", {"setup": setup}, timeout_s=_APPLY_TIMEOUT_S)
        if answer.status_code in (400, 409) and (why := _words(answer)):
            raise UsageError(why) if answer.status_code == 400 else StartError(why)
        return self._told("/admin/config", answer)

    def _wish(self, model: str, verb: str, wish: dict[str, Any]) -> dict[str, Any]:
        path = f"/admin/models/{_quoted(model)}/{verb}"
        answer = self._answer("POST", path, wish, timeout_s=_LOAD_TIMEOUT_S)
        if answer.status_code in (400, 404, 422) and (why := _words(answer)):
            raise UsageError(why)
        if answer.status_code == 503 and (why := _words(answer)):
            raise EngineLoadError(why)
        return self._told(path, answer)

    def _get(self, path: str) -> dict[str, Any]:
        return self._call("GET", path)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._told(path, self._answer(method, path, body))

    def _answer(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float = _TIMEOUT_S
    ) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body, timeout=timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotAnsweringError(f"{self.url} does not answer: {error}") from None

    def _told(self, path: str, answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code not in (200, 202):
            raise NotAnsweringError(
                f"{self.url}{path} answers HTTP {answer.status_code}{_why(answer)}"
            )
        told: dict[str, Any] = answer.json()
        return told


def _why(answer: httpx.Response) -> str:
    """The server's own words, but where the number says it all."""
    words = "" if answer.status_code in (401, 404) else _words(answer)
    return f": {words}" if words else ""


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _quoted(model: str) -> str:
    return quote(model, safe="/:@")


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
