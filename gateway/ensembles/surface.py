"""An HTTP surface of ensembles: a request as a chat completion's, and the answer in its own words.

Members are asked by chat completions only, so a surface translates at the border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from common.errors import BadRequestError
from router.ensembles.ask import Choice, Usage

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around an answer. `model`: who gave it; `created` is in seconds since 1970."""

    id: str
    created: int
    model: str
    prompt_tokens: int = 0  # an estimate, for those that tell it before the answer
    wants_usage: bool = False  # at the end of a stream


@dataclass(frozen=True, slots=True)
class Spoken:
    """A whole answer. `about` has for each choice what is told beside it, `extra` for all."""

    choices: Sequence[Choice]
    usage: Usage
    about: Sequence[Mapping[str, Any]] = ()
    extra: Mapping[str, Any] | None = None


class Stream(Protocol):
    """Pieces are choices of a chat completion's chunk: index, delta, finish_reason."""

    def pieces(self, pieces: Sequence[Mapping[str, Any]]) -> bytes: ...

    def end(self, spoken: Spoken) -> bytes: ...


class Surface(Protocol):
    several: bool  # it can hold more than one answer

    def chat(self, body: Json) -> Json:
        """As a chat completion's body. Raises BadRequestError for what cannot be said there."""

    def whole(self, frame: Frame, spoken: Spoken) -> Json: ...

    def stream(self, frame: Frame) -> Stream: ...


def event(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def refuse(body: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """`fields` that an ensemble cannot do, and why. False, null and empty are as good as absent."""
    for name, why in fields.items():
        if body.get(name):
            raise BadRequestError(f"{name}: {why}", param=name)


def pieces_of(spoken: Spoken) -> list[Json]:
    """A whole answer as a stream would have it."""
    pieces: list[Json] = []
    for index, choice in enumerate(spoken.choices):
        pieces.append({"index": index, "delta": delta_of(choice), "finish_reason": None})
        pieces.append({"index": index, "delta": {}, "finish_reason": choice.finish_reason})
    return pieces


def delta_of(choice: Choice) -> Json:
    message = message_of(choice)
    calls = message.get("tool_calls")
    if calls:
        message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    return message


def message_of(choice: Choice) -> Json:
    """With the text that the ensemble made of it, where that is another."""
    message = dict(choice.message or {"role": "assistant"})
    if choice.text or not message.get("tool_calls"):
        message["content"] = choice.text
    return message


def pieces_text(pieces: Sequence[Mapping[str, Any]]) -> str:
    return "".join((piece.get("delta") or {}).get("content") or "" for piece in pieces)


def finish_in(pieces: Sequence[Mapping[str, Any]]) -> str | None:
    return next((p["finish_reason"] for p in pieces if p.get("finish_reason")), None)
