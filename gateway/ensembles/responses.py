"""Ensembles by `/v1/responses`, OpenAI's: text and images in, text out, nothing kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import BadRequestError
from gateway.ensembles.surface import Frame, Json, Spoken, Stream, event, pieces_text, refuse
from router.ensembles.ask import Usage

_KEPT = "ensembles keep nothing; send the whole conversation as input"
_REFUSED = {
    "tools": "ensembles take tools by /v1/chat/completions only",
    "previous_response_id": _KEPT,
    "conversation": _KEPT,
    "background": _KEPT,
    "prompt": "ensembles know no stored prompts",
    "top_logprobs": "an ensemble's answer has no probabilities of its own",
}
_SAME = ("temperature", "top_p", "routing", "plugins", "keep_alive", "model", "stream", "user")
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})


class ResponsesSurface:
    several = False

    def chat(self, body: Json) -> Json:
        refuse(body, _REFUSED)
        chat = {key: body[key] for key in _SAME if body.get(key) is not None}
        said = body.get("instructions")
        first = [{"role": "system", "content": said}] if said else []
        chat["messages"] = [*first, *_messages(body.get("input"))]
        if body.get("max_output_tokens") is not None:
            chat["max_tokens"] = body["max_output_tokens"]
        if wanted := _format(body.get("text")):
            chat["response_format"] = wanted
        reasoning = body.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
        return {**chat, "reasoning_effort": effort} if effort else chat

    def whole(self, frame: Frame, spoken: Spoken) -> Json:
        choice = spoken.choices[0]
        cut = choice.finish_reason == "length"
        return {
            **_head(frame, "incomplete" if cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [_item(frame, "incomplete" if cut else "completed", choice.text)],
            "usage": _usage(spoken.usage),
            **({"roundhouse": spoken.extra} if spoken.extra is not None else {}),
        }

    def stream(self, frame: Frame) -> Stream:
        return _Events(frame, self)


class _Events:
    def __init__(self, frame: Frame, surface: ResponsesSurface) -> None:
        self._frame = frame
        self._surface = surface
        self._number = 0
        self._texts: list[str] = []

    def pieces(self, pieces: Sequence[Mapping[str, Any]]) -> bytes:
        text = pieces_text(pieces)
        out = self._open()
        if text:
            self._texts.append(text)
            out += self._event("response.output_text.delta", **self._at, delta=text, logprobs=[])
        return out

    def end(self, spoken: Spoken) -> bytes:
        text = "".join(self._texts)
        response = self._surface.whole(self._frame, spoken)
        cut = response["status"] == "incomplete"
        part = _part(text)
        return (
            self._open()
            + self._event("response.output_text.done", **self._at, text=text, logprobs=[])
            + self._event("response.content_part.done", **self._at, part=part)
            + self._event(
                "response.output_item.done",
                output_index=0,
                item=_item(self._frame, response["status"], text),
            )
            + self._event(f"response.{'incomplete' if cut else 'completed'}", response=response)
        )

    @property
    def _at(self) -> Json:
        return {"item_id": _item_id(self._frame), "output_index": 0, "content_index": 0}

    def _open(self) -> bytes:
        if self._number:
            return b""
        response = {**_head(self._frame, "in_progress"), "output": [], "usage": None}
        item = {**_item(self._frame, "in_progress", ""), "content": []}
        return (
            self._event("response.created", response=response)
            + self._event("response.in_progress", response=response)
            + self._event("response.output_item.added", output_index=0, item=item)
            + self._event("response.content_part.added", **self._at, part=_part(""))
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)


def _head(frame: Frame, status: str) -> Json:
    return {
        "id": frame.id.replace("chatcmpl", "resp"),
        "object": "response",
        "created_at": frame.created,
        "status": status,
        "model": frame.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "store": False,
    }


def _item(frame: Frame, status: str, text: str) -> Json:
    return {
        "type": "message",
        "id": _item_id(frame),
        "role": "assistant",
        "status": status,
        "content": [_part(text)],
    }


def _item_id(frame: Frame) -> str:
    return frame.id.replace("chatcmpl", "msg")


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def _messages(said: Any) -> list[Json]:
    if isinstance(said, str) and said:
        return [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise BadRequestError("input: must be text, or at least one message", param="input")
    return [_message(item, f"input.{i}") for i, item in enumerate(said)]


def _message(item: Any, place: str) -> Json:
    told = item if isinstance(item, dict) else {}
    if told.get("type", "message") != "message" or not isinstance(told.get("role"), str):
        raise BadRequestError(f"{place}: an ensemble takes messages only", param="input")
    role = "system" if told["role"] == "developer" else told["role"]
    return {"role": role, "content": _content(told.get("content"), place)}


def _content(content: Any, place: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequestError(f"{place}.content: must be text or parts", param="input")
    parts = [_as_chat(part, f"{place}.content.{i}") for i, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _as_chat(part: Any, place: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    raise BadRequestError(
        f"{place}: an ensemble takes input_text and input_image with a URL, not {kind!r}",
        param="input",
    )


def _format(text: Any) -> Json | None:
    wanted = text.get("format") if isinstance(text, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") in (None, "text"):
        return None
    if wanted["type"] != "json_schema":
        return {"type": wanted["type"]}
    schema = {key: wanted[key] for key in ("name", "schema", "strict") if key in wanted}
    return {"type": "json_schema", "json_schema": schema}
