"""A stream of Anthropic's events, turned into chat completion chunks as it comes. No I/O."""

from __future__ import annotations

import json
from typing import Any

from engines.anthropic.answer import failure_in, finish_of, tokens_of, usage_of
from engines.prices import Tokens
from engines.sse import EventSplitter, data_of

Json = dict[str, Any]
_COMMENT = b": ping\n\n"  # tells the client, and our own clock, that the line is alive
_DONE = b"data: [DONE]\n\n"


class ChatStream:
    """`feed` gives what goes out for what came. Raises EngineError for an error event.

    `begun` once something was said: until then another model could still answer.
    """

    def __init__(self, created: int, *, include_usage: bool) -> None:
        self.begun = self.complete = False
        self.tokens: Tokens | None = None
        self._events = EventSplitter()
        self._created = created
        self._include_usage = include_usage
        self._head: Json = {}
        self._usage: Json = {}
        self._finish = "stop"
        self._calls: dict[int, int] = {}  # index of a content block: index of its call
        self._silent: set[int] = set()  # calls without arguments so far

    def feed(self, data: bytes) -> bytes:
        return b"".join(self._event(data_of(event)) for event in self._events.feed(data))

    def end(self) -> bytes:
        return b""

    def _event(self, data: bytes) -> bytes:
        event: Json = json.loads(data) if data else {}
        kind = event.get("type")
        if kind == "error":
            raise failure_in(data)
        if kind == "ping":
            return _COMMENT
        self.begun = self.begun or kind in ("content_block_start", "message_delta")
        handle = self._HANDLERS.get(kind or "")
        return handle(self, event) if handle else b""

    def _start(self, event: Json) -> bytes:
        message = event["message"]
        self._head = {
            "id": message["id"],
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": message["model"],
        }
        self._usage = dict(message.get("usage") or {})
        return self._delta({"role": "assistant", "content": ""})

    def _block(self, event: Json) -> bytes:
        block, index = event["content_block"], event["index"]
        if block["type"] == "text" and block.get("text"):
            return self._delta({"content": block["text"]})
        if block["type"] != "tool_use":
            return b""
        call = self._calls[index] = len(self._calls)
        self._silent.add(index)
        function = {"name": block["name"], "arguments": ""}
        told = {"index": call, "id": block["id"], "type": "function", "function": function}
        return self._delta({"tool_calls": [told]})

    def _piece(self, event: Json) -> bytes:
        delta, index = event["delta"], event["index"]
        if delta["type"] == "text_delta":
            return self._delta({"content": delta["text"]})
        if delta["type"] == "thinking_delta":
            return self._delta({"reasoning_content": delta["thinking"]})
        if delta["type"] == "input_json_delta" and delta["partial_json"]:
            self._silent.discard(index)
            return self._arguments(index, delta["partial_json"])
        return b""

    def _block_end(self, event: Json) -> bytes:
        """A call without arguments has no pieces, and OpenAI's clients want JSON of it too."""
        if event["index"] not in self._silent:
            return b""
        self._silent.discard(event["index"])
        return self._arguments(event["index"], "{}")

    def _message_delta(self, event: Json) -> bytes:
        told = event.get("usage") or {}  # counts so far, not since the last event
        self._usage |= {name: count for name, count in told.items() if count is not None}
        if event["delta"].get("stop_reason"):
            self._finish = finish_of(event["delta"]["stop_reason"])
        return b""

    def _stop(self, event: Json) -> bytes:
        self.complete, self.tokens = True, tokens_of(self._usage)
        out = self._chunk([{"index": 0, "delta": {}, "finish_reason": self._finish}])
        if self._include_usage:
            out += self._chunk([], usage=usage_of(self.tokens))
        return out + _DONE

    def _arguments(self, index: int, piece: str) -> bytes:
        call = {"index": self._calls[index], "function": {"arguments": piece}}
        return self._delta({"tool_calls": [call]})

    def _delta(self, delta: Json) -> bytes:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[Json], **more: Any) -> bytes:
        chunk = {**self._head, "choices": choices, **more}
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"

    _HANDLERS = {  # noqa: RUF012  # a table of methods, never changed
        "message_start": _start,
        "content_block_start": _block,
        "content_block_delta": _piece,
        "content_block_stop": _block_end,
        "message_delta": _message_delta,
        "message_stop": _stop,
    }
