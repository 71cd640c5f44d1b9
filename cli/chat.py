"""`roundhouse run`: a question or a chat in the terminal, streamed, over the endpoint's own API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

from cli.client import ONE_CALL_A_CONNECTION, Client
from cli.progress import say
from common.errors import EngineError, NotAnsweringError, StartError, UsageError
from common.instance import Instance, running

Message = dict[str, str]
_START_TIMEOUT_S = 3600.0
_HELP = "/clear forgets the conversation, /exit or Ctrl-D leaves."


@dataclass(frozen=True)
class Settings:
    """What the flags say about answers; None leaves it to the model."""

    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None


def chat(model: str, prompt: str, port: int | None, settings: Settings) -> None:
    """Answers `prompt`, or standard input when it is piped, or else chats until Ctrl-D."""
    if not prompt and not sys.stdin.isatty():
        prompt = sys.stdin.read().strip()
    with _serving(model, port) as (instance, name):
        conversation = Conversation(instance, name, settings)
        if prompt:
            conversation.ask(prompt)
        else:
            _converse(conversation)


class Conversation:
    """The messages so far, and how to get the next one."""

    def __init__(self, instance: Instance, model: str, settings: Settings) -> None:
        self._model = model
        self._settings = settings
        self._messages: list[Message] = []
        self.clear()
        self._http = httpx.Client(
            base_url=instance.url,
            headers={"Authorization": f"Bearer {instance.token}"},
            timeout=httpx.Timeout(None, connect=10),
            limits=ONE_CALL_A_CONNECTION,
            trust_env=False,
        )

    def clear(self) -> None:
        system = self._settings.system
        self._messages = [{"role": "system", "content": system}] if system else []

    def ask(self, prompt: str) -> None:
        """Prints the answer as it comes. Raises EngineError with the server's words, or
        NotAnsweringError."""
        self._messages.append({"role": "user", "content": prompt})
        answer = ""
        try:
            for piece in self._pieces():
                answer += piece
                print(piece, end="", flush=True)
        except httpx.HTTPError as error:
            raise NotAnsweringError(f"{self._http.base_url} does not answer: {error}") from None
        print()
        self._messages.append({"role": "assistant", "content": answer})

    def _pieces(self) -> Iterator[str]:
        body: dict[str, Any] = {"model": self._model, "messages": self._messages, "stream": True}
        for key in ("max_tokens", "temperature"):
            if getattr(self._settings, key) is not None:
                body[key] = getattr(self._settings, key)
        with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                raise EngineError(_message(answer))
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    yield from _text_of(json.loads(line[6:]))


def _text_of(event: dict[str, Any]) -> Iterator[str]:
    if "error" in event:
        raise EngineError(f"the answer broke off: {event['error'].get('message')}")
    for choice in event.get("choices", ()):
        yield choice["delta"].get("content") or ""


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:300]}"


def _converse(conversation: Conversation) -> None:
    import readline  # noqa: F401  # gives input() editing and history

    print(_HELP)
    while True:
        try:
            line = input(">>> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line == "/exit":
            return
        if line == "/clear":
            conversation.clear()
        elif line:
            conversation.ask(line)


@contextmanager
def _serving(model: str, port: int | None) -> Iterator[tuple[Instance, str]]:
    """A running endpoint that has the model; started for the time being if there is none."""
    from cli.serve import model_name
    from router.auto import is_auto

    name = model_name(model)
    instances = [i for i in running() if port in (None, i.port)]
    for instance in instances:
        known = _names(instance)
        if model in known or name in known or is_auto(model):
            yield instance, name if name in known else model
            return
    if instances and "/" not in model and ":" not in model:
        known = sorted({each for i in instances for each in _names(i)})
        raise UsageError(f"no model {model!r} is served; there are: {', '.join(known)}")
    yield from _started(model, name)


def _names(instance: Instance) -> list[str]:
    try:
        return [entry["id"] for entry in Client(instance).models()]
    except NotAnsweringError:
        return []


def _started(model: str, name: str) -> Iterator[tuple[Instance, str]]:
    port = _free_port()
    command = [sys.executable, "-m", "cli.main", "serve", "--model", model, "--port", str(port)]
    say(f"nothing serves {model}; starting it for this chat")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield _wait_for(server, port), name
    finally:
        server.terminate()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int) -> Instance:
    give_up_at = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < give_up_at:
        if server.poll() is not None:
            raise StartError("the model did not start (see above)")
        for instance in running():
            if instance.port == port and _is_ready(instance):
                return instance
        time.sleep(0.3)
    raise StartError(f"the model was not ready within {_START_TIMEOUT_S:g} s")


def _is_ready(instance: Instance) -> bool:
    try:
        return bool(Client(instance).replicas()["settled"])
    except NotAnsweringError:
        return False


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
