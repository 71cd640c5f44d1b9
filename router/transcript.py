"""What a client has been sent of one streamed answer, kept so that another engine can go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from engines.sse import data_of
from router.replicas import Replica
from router.resume import Rest, rest_of

_DONE = b"[DONE]"
# The same in every chunk of an answer, so that clients see one.
_HEAD = ("id", "model", "created", "system_fingerprint")


class _Delta(msgspec.Struct):
    role: Any = None
    content: str | None = None
    # What cannot be given back to an engine as the beginning of its answer.
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    audio: Any = None

    @property
    def is_text(self) -> bool:
        others = (self.reasoning, self.reasoning_content, self.tool_calls)
        return not any((*others, self.function_call, self.refusal, self.audio))


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(msgspec.Struct):
    id: Any = None
    model: Any = None
    created: Any = None
    system_fingerprint: Any = None
    choices: list[_Choice] = []
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Chunk)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_OTHER_SHAPE = (TypeError, AttributeError)  # JSON, but no chunk


@dataclass(slots=True, eq=False)
class Transcript:
    """Of the answer to `body`, as it was sent to the first engine.

    `n_tokens` is the engine's count where it sends one with each chunk; else the chunks are
    counted, of which an engine may put several tokens into one.
    """

    path: str
    body: bytes
    n_tokens: int = 0
    finished: bool = False  # its text is whole
    done: bool = False  # and so is its stream
    readable: bool = True  # all of it was understood, and is text
    broken: list[Replica] = field(default_factory=list)
    _said: list[str] = field(default_factory=list)
    _head: dict[str, Any] = field(default_factory=dict)
    _has_role: bool = False
    _prompt_tokens: int | None = None
    _rest: Rest | None = None
    _overlap: str = ""

    @property
    def said(self) -> str:
        return "".join(self._said)

    def rest(self) -> Rest | None:
        """How to ask for what is missing; from then on `add` is given the answer to that."""
        if not self.readable:
            return None
        self._rest = rest_of(self.body, self.path, self.said, self.n_tokens)
        if self._rest:
            self.n_tokens, self._overlap = self._rest.n_tokens, self._rest.overlap
        return self._rest

    def add(self, event: bytes) -> bytes:
        """One event of an engine; what the client is to get of it."""
        data = data_of(event)
        if not data:
            return event
        if data == _DONE:
            self.done = True
            return event
        try:
            if self._rest is not None:
                event = self._joined(data)
                data = data_of(event)
            if data:
                self._note(_decoder.decode(data))
        except (*_UNREADABLE, *_OTHER_SHAPE):
            self.readable = False
        return event

    def _note(self, chunk: _Chunk) -> None:
        if not self._head:
            self._head = {name: getattr(chunk, name) for name in _HEAD if getattr(chunk, name)}
        for choice in chunk.choices:
            self._note_choice(choice)
        if chunk.usage is not None:
            self._prompt_tokens = chunk.usage.prompt_tokens
            self.n_tokens = chunk.usage.completion_tokens

    def _note_choice(self, choice: _Choice) -> None:
        self._has_role = self._has_role or bool(choice.delta.role)
        self.readable = self.readable and choice.delta.is_text
        self.finished = self.finished or choice.finish_reason is not None
        text = choice.delta.content or choice.text
        if text:
            self._said.append(text)
            self.n_tokens += 1

    # What a second engine says, made to follow on what the first one said.

    def _joined(self, data: bytes) -> bytes:
        """b"" for a chunk that says only what the client knows."""
        chunk: dict[str, Any] = msgspec.json.decode(data)
        chunk |= self._head
        news = [self._follow(choice) for choice in chunk.get("choices") or ()]
        if news and not any(news):
            return b""
        if isinstance(usage := chunk.get("usage"), dict):
            self._sum_up(usage)
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

    def _follow(self, choice: dict[str, Any]) -> bool:
        """Whether anything is left of it that is new."""
        place = choice.get("delta", choice)
        key = "content" if place is not choice else "text"
        if self._has_role:
            place.pop("role", None)
        said = place.get(key)
        if isinstance(said, str):
            place[key] = self._without_overlap(said)
        others = any(value for name, value in place.items() if name not in (key, "index"))
        return bool(place.get(key) or choice.get("finish_reason") or others)

    def _without_overlap(self, text: str) -> str:
        """The white space that was said before, as far as it comes again."""
        if not self._overlap or not text:
            return text
        same = 0
        while same < min(len(text), len(self._overlap)) and text[same] == self._overlap[same]:
            same += 1
        self._overlap = self._overlap[same:] if same == len(text) else ""
        return text[same:]

    def _sum_up(self, usage: dict[str, Any]) -> None:
        """The engine counts what it was given of the answer to its prompt."""
        given = self._rest.n_tokens if self._rest else 0
        prompt, new = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        if self._prompt_tokens is None:
            self._prompt_tokens = max(0, prompt - given)
        usage["prompt_tokens"] = self._prompt_tokens
        usage["completion_tokens"] = given + new
        usage["total_tokens"] = self._prompt_tokens + given + new
