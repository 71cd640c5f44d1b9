"""What a member says, put together from its chunks: text, tool calls, log-probabilities, usage.

No I/O. An engine that answers whole though it was asked to stream is heard, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from common.errors import DeadlineError, EngineError, EngineTimeoutError, RoundhouseError
from engines.meter import openai_tokens
from engines.sse import EventSplitter, data_of
from router.ensembles.ask import Choice, Meter, Token, Usage, text_of

Json = dict[str, Any]
_BROKEN: dict[object, type[RoundhouseError]] = {
    kind.code: kind for kind in (DeadlineError, EngineTimeoutError)
}
_NO_TEXT = frozenset({"role", "tool_calls", "function_call"})


@dataclass(slots=True)
class _Sample:
    """One choice, while it is being said."""

    message: Json = field(default_factory=lambda: {"role": "assistant"})
    logprobs: list[Token] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, delta: Mapping[str, Any]) -> None:
        for key, value in delta.items():
            if key == "tool_calls":
                self._add_calls(value or ())
            elif isinstance(value, str) and key != "role":
                self.message[key] = (self.message.get(key) or "") + value

    def choice(self, index: int) -> Choice:
        message = {"content": None, **self.message}
        return Choice(
            text_of(message["content"]), index, self.finish_reason, message, tuple(self.logprobs)
        )

    def _add_calls(self, pieces: Any) -> None:
        calls = self.message.setdefault("tool_calls", [])
        for piece in pieces:
            index = piece.get("index", len(calls))
            while len(calls) <= index:
                calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
            function = piece.get("function") or {}
            for key in ("name", "arguments"):
                calls[index]["function"][key] += function.get(key) or ""
            if piece.get("id"):
                calls[index]["id"] = piece["id"]


class Hearing:
    """Of one call. `pieces` are what the chunks' choices said, for whoever passes them on."""

    def __init__(self, meter: Meter, samples: int = 1) -> None:
        self.usage: Usage | None = None
        self.pieces: list[Json] = []
        self.overran = False  # it said more than the meter allows
        self._meter = meter
        self._unfinished = samples
        self._samples: dict[int, _Sample] = {}
        self._events = EventSplitter()

    def feed(self, data: bytes) -> None:
        """A part of a stream. Raises the failure that it tells of."""
        for event in self._events.feed(data):
            text = data_of(event)
            if text and text != b"[DONE]":
                self._read(decoded(text))

    def whole(self, body: bytes) -> None:
        """An answer in one piece."""
        answer = decoded(body)
        for choice in answer.get("choices") or ():
            choice["delta"] = choice.pop("message", None) or {}
        self._read(answer)

    def choices(self) -> tuple[Choice, ...]:
        return tuple(self._samples[index].choice(index) for index in sorted(self._samples))

    def _read(self, told: Json) -> None:
        if told.get("error"):
            raise failure_of(told["error"])
        for choice in told.get("choices") or ():
            self._hear(choice)
        if told.get("usage"):
            tokens = openai_tokens(told["usage"])
            # llama.cpp counts one of several answers only.
            output = max(tokens.completion, self._meter.output_tokens)
            self.usage = Usage(tokens.prompt, output)
            self._meter.prompt_tokens = tokens.prompt

    def _hear(self, choice: Json) -> None:
        index, delta = choice.get("index", 0), choice.get("delta") or {}
        sample = self._samples.setdefault(index, _Sample())
        sample.add(delta)
        logprobs = [_token(each) for each in (choice.get("logprobs") or {}).get("content") or ()]
        sample.logprobs += logprobs
        if says_something(delta):
            # A chunk is a token, as far as nobody tells better.
            self._count(max(1, len(logprobs)))
        if self._meter.final:
            self.pieces.append(choice)
        if choice.get("finish_reason"):
            sample.finish_reason = choice["finish_reason"]
            self._unfinished -= 1
            if self._unfinished > 0:  # after the last one comes the end, and with it the usage
                self._meter.finished(sample.choice(index))

    def _count(self, tokens: int) -> None:
        self.overran = True
        self._meter.heard(tokens)
        self.overran = False


def says_something(delta: Mapping[str, Any]) -> bool:
    if delta.get("tool_calls"):
        return True
    return any(isinstance(v, str) and v for k, v in delta.items() if k not in _NO_TEXT)


def decoded(text: bytes) -> Json:
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineError("its answer is no JSON") from None
    if not isinstance(told, dict):
        raise EngineError("its answer is no object")
    return told


def failure_of(error: Any) -> RoundhouseError:
    """The failure in an event of a stream that broke."""
    told = error if isinstance(error, dict) else {"message": error}
    kind = _BROKEN.get(told.get("code"), EngineError)
    return kind(str(told.get("message")))


def _token(told: Json) -> Token:
    others = (
        each["logprob"]
        for each in told.get("top_logprobs") or ()
        if each.get("token") != told.get("token")
    )
    return Token(told["logprob"], max(others, default=None))
