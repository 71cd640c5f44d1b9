"""A request made out to a remote endpoint, and its answer made out to the client. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engines.anthropic.answer import BUSY, to_completion, to_error, tokens_of
from engines.anthropic.content import Untranslatable
from engines.anthropic.request import to_messages
from engines.anthropic.stream import ChatStream
from engines.endpoint import Endpoint
from engines.meter import Lens, MessagesMeter, OpenAIMeter, openai_tokens
from engines.prices import Tokens
from router.fallback import with_model

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
_STREAMS_OF_CHUNKS = frozenset({CHAT, "/v1/completions"})
Whole = Callable[[int, bytes], tuple[int, bytes, Tokens | None]]


@dataclass(frozen=True)
class Asked:
    """What goes to the endpoint, and what its answer is read with. `path` is as we name it."""

    path: str
    body: bytes
    whole: Whole
    lens: Lens | None = None


def ask(endpoint: Endpoint, path: str, body: bytes, *, streamed: bool, now_s: int) -> Asked:
    """Raises Untranslatable."""
    if endpoint.engine != "anthropic":
        return _of_openai(endpoint, path, body, streamed=streamed)
    if path == CHAT:
        return _by_messages(endpoint, body, now_s)
    if path == MESSAGES or path.startswith((f"{MESSAGES}/", "/v1/models")):
        named = _named(body, endpoint.model)
        return Asked(path, named, _messages, MessagesMeter())
    raise Untranslatable(path, f"it answers {CHAT} and {MESSAGES}")


def _of_openai(endpoint: Endpoint, path: str, body: bytes, *, streamed: bool) -> Asked:
    body = _named(body, endpoint.model)
    if b'"routing"' in body:  # ours, and refused by those who know their fields
        body = _without_routing(body)
    if endpoint.price is None:
        return Asked(path, body, _untouched)
    hidden = False
    if streamed and path in _STREAMS_OF_CHUNKS:
        body, hidden = _with_usage(body)
    return Asked(path, body, _priced, OpenAIMeter(hide_usage=hidden))


def _by_messages(endpoint: Endpoint, body: bytes, now_s: int) -> Asked:
    chat = json.loads(body)
    made = to_messages(chat, endpoint.model or chat.get("model"), endpoint.max_tokens)
    options = chat.get("stream_options")
    told = isinstance(options, dict) and bool(options.get("include_usage"))

    def whole(status: int, answer: bytes) -> tuple[int, bytes, Tokens | None]:
        if status >= 400:
            return 503 if status == BUSY else status, _json(to_error(answer)), None
        message = json.loads(answer)
        return status, _json(to_completion(message, now_s)), tokens_of(message["usage"])

    return Asked(MESSAGES, _json(made), whole, ChatStream(now_s, include_usage=told))


def _untouched(status: int, answer: bytes) -> tuple[int, bytes, Tokens | None]:
    return status, answer, None


def _priced(status: int, answer: bytes) -> tuple[int, bytes, Tokens | None]:
    usage = _usage(answer) if status == 200 else None
    return status, answer, openai_tokens(usage) if usage else None


def _messages(status: int, answer: bytes) -> tuple[int, bytes, Tokens | None]:
    usage = _usage(answer) if status == 200 else None
    return status, answer, tokens_of(usage) if usage else None


def _usage(answer: bytes) -> dict[str, Any] | None:
    if b'"usage"' not in answer:
        return None
    try:
        told = json.loads(answer)
    except ValueError:  # an audio file, say
        return None
    usage = told.get("usage") if isinstance(told, dict) else None
    return usage if isinstance(usage, dict) else None


def _named(body: bytes, model: str | None) -> bytes:
    """A body in which no model can be named (a form, a GET's) goes as it is."""
    return body if model is None else with_model(body, model) or body


def _without_routing(body: bytes) -> bytes:
    fields = json.loads(body)
    if fields.pop("routing", None) is None:
        return body
    return _json(fields)


def _with_usage(body: bytes) -> tuple[bytes, bool]:
    """The body that has the stream tell its usage, and whether it was we who asked."""
    fields = json.loads(body)
    options = fields.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        return body, False
    fields["stream_options"] = {**(options or {}), "include_usage": True}
    return _json(fields), True


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
