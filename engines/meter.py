"""Lenses: what a provider's stream passes through on its way out, and what is read off it. No I/O.

`feed` takes bytes as they come and gives those that go out. `begun` once the answer is one that no
other model can give any more; `tokens` once the stream has told what it took.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from engines.anthropic.answer import failure_in, tokens_of
from engines.prices import Tokens
from engines.sse import EventSplitter, data_of

Json = dict[str, Any]


class Lens(Protocol):
    begun: bool
    complete: bool
    tokens: Tokens | None

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes:
        """What is left when the stream has ended."""


class OpenAIMeter:
    """Reads the usage. One that only we have asked for is taken out again."""

    def __init__(self, *, hide_usage: bool) -> None:
        self.begun = self.complete = False
        self.tokens: Tokens | None = None
        self._hide_usage = hide_usage
        self._events = EventSplitter()

    def feed(self, data: bytes) -> bytes:
        out = b"".join(event for event in self._events.feed(data) if self._passes(event))
        self.begun = self.complete = self.begun or bool(out)
        return out

    def end(self) -> bytes:
        return self._events.rest

    def _passes(self, event: bytes) -> bool:
        if b'"usage"' not in event:
            return True
        try:
            told = json.loads(data_of(event))
        except ValueError:
            return True
        usage = told.get("usage") or (told.get("response") or {}).get("usage")
        if usage:
            self.tokens = openai_tokens(usage)
        return not (self._hide_usage and usage and told.get("choices") == [])


class MessagesMeter:
    """Anthropic's own events, unchanged. An error before the first content is a failure that
    another model may mend, so nothing goes out until then."""

    def __init__(self) -> None:
        self.begun = self.complete = False
        self.tokens: Tokens | None = None
        self._usage: Json = {}
        self._held = b""
        self._events = EventSplitter()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        for event in self._events.feed(data):
            self._read(data_of(event))
        if not self.begun:
            return b""
        out, self._held = self._held, b""
        return out

    def end(self) -> bytes:
        return self._held

    def _read(self, data: bytes) -> None:
        event = json.loads(data) if data else {}
        kind = event.get("type")
        if kind == "error":
            if not self.begun:
                raise failure_in(data)
            self.complete = True  # it has told of its end itself
        elif kind == "message_start":
            self._count(event["message"].get("usage"))
        elif kind == "message_delta":
            self._count(event.get("usage"))
        elif kind == "message_stop":
            self.complete, self.tokens = True, tokens_of(self._usage)
        self.begun = self.begun or kind in ("content_block_start", "message_delta")

    def _count(self, usage: Json | None) -> None:
        self._usage |= {name: n for name, n in (usage or {}).items() if n is not None}


def openai_tokens(usage: Json) -> Tokens:
    """Of chat completions, and of /v1/responses with its other names."""
    prompt = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    completion = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return Tokens(prompt, completion, details.get("cached_tokens") or 0)
