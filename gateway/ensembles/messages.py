"""Ensembles by `/v1/messages`, Anthropic's: text and images in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import BadRequestError
from gateway.ensembles.surface import (
    Frame,
    Json,
    Spoken,
    Stream,
    event,
    finish_in,
    pieces_text,
    refuse,
)

_CHAT_ONLY = "ensembles take it by /v1/chat/completions only"
_REFUSED = {
    "tools": _CHAT_ONLY,
    "tool_choice": _CHAT_ONLY,
    "mcp_servers": "ensembles have none",
    "output_config": _CHAT_ONLY,
    "container": "ensembles have none",
}
_SAME = ("temperature", "top_p", "top_k", "routing", "plugins", "keep_alive", "model", "stream")
_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesSurface:
    several = False

    def chat(self, body: Json) -> Json:
        refuse(body, _REFUSED)
        chat = {key: body[key] for key in _SAME if body.get(key) is not None}
        system = body.get("system")
        first = [{"role": "system", "content": _content(system, "system")}] if system else []
        told = body.get("messages")
        if not isinstance(told, list) or not told:
            raise BadRequestError("messages: there must be at least one", param="messages")
        rest = [_message(each, f"messages.{i}") for i, each in enumerate(told)]
        chat["messages"] = [*first, *rest]
        if body.get("max_tokens") is not None:
            chat["max_tokens"] = body["max_tokens"]
        if body.get("stop_sequences"):
            chat["stop"] = body["stop_sequences"]
        return chat

    def whole(self, frame: Frame, spoken: Spoken) -> Json:
        choice = spoken.choices[0]
        message = _head(frame, spoken.usage.prompt_tokens, spoken.usage.output_tokens)
        return {
            **message,
            "content": [{"type": "text", "text": choice.text}],
            "stop_reason": _STOPS.get(choice.finish_reason or "", "end_turn"),
            **({"roundhouse": spoken.extra} if spoken.extra is not None else {}),
        }

    def stream(self, frame: Frame) -> Stream:
        return _Events(frame)


class _Events:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._begun = False
        self._stop = "end_turn"

    def pieces(self, pieces: Sequence[Mapping[str, Any]]) -> bytes:
        self._stop = _STOPS.get(finish_in(pieces) or "", self._stop)
        text = pieces_text(pieces)
        out = self._open()
        if text:
            delta = {"type": "text_delta", "text": text}
            out += _event("content_block_delta", index=0, delta=delta)
        return out

    def end(self, spoken: Spoken) -> bytes:
        usage = {
            "input_tokens": spoken.usage.prompt_tokens,
            "output_tokens": spoken.usage.output_tokens,
        }
        more = {"roundhouse": spoken.extra} if spoken.extra is not None else {}
        delta = {"stop_reason": self._stop, "stop_sequence": None}
        return (
            self._open()
            + _event("content_block_stop", index=0)
            + _event("message_delta", delta=delta, usage=usage, **more)
            + _event("message_stop")
        )

    def _open(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = {**_head(self._frame, self._frame.prompt_tokens, 0), "content": []}
        block = {"type": "text", "text": ""}
        start = _event("message_start", message=message)
        return start + _event("content_block_start", index=0, content_block=block)


def _head(frame: Frame, prompt_tokens: int, output_tokens: int) -> Json:
    return {
        "id": frame.id.replace("chatcmpl", "msg"),
        "type": "message",
        "role": "assistant",
        "model": frame.model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": prompt_tokens, "output_tokens": output_tokens},
    }


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def _message(told: Any, place: str) -> Json:
    if not isinstance(told, dict) or told.get("role") not in ("user", "assistant"):
        raise BadRequestError(f"{place}: wants a role, user or assistant", param="messages")
    return {"role": told["role"], "content": _content(told.get("content"), place)}


def _content(content: Any, place: str) -> Any:
    """Text as text; parts as OpenAI has them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequestError(f"{place}.content: must be text or blocks", param="messages")
    parts = [_part(block, f"{place}.content.{i}") for i, block in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(block: Any, place: str) -> Json:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    source = block.get("source") if kind == "image" else None
    if isinstance(source, dict):
        if source.get("type") == "base64":
            url = f"data:{source.get('media_type')};base64,{source.get('data')}"
        else:
            url = str(source.get("url"))
        return {"type": "image_url", "image_url": {"url": url}}
    raise BadRequestError(
        f"{place}: an ensemble takes blocks of text and image here, not {kind!r}", param="messages"
    )
