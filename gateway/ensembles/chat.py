"""Ensembles by `/v1/chat/completions`, OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import BadRequestError
from gateway.ensembles.surface import Frame, Json, Spoken, Stream, event, message_of, refuse
from router.ensembles.ask import Usage

_REFUSED = {
    "logprobs": "an ensemble's answer has no probabilities of its own",
    "top_logprobs": "an ensemble's answer has no probabilities of its own",
    "audio": "ensembles answer with text",
    "functions": "use tools",
    "function_call": "use tool_choice",
}
_DONE = b"data: [DONE]\n\n"


class ChatSurface:
    several = True

    def chat(self, body: Json) -> Json:
        refuse(body, _REFUSED)
        if body.get("n") not in (None, 1):
            raise BadRequestError(
                "n: an ensemble gives one answer; its samples say how many it is made of", param="n"
            )
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequestError("messages: there must be at least one", param="messages")
        if not all(isinstance(message, dict) for message in messages):
            raise BadRequestError("messages: each must be an object", param="messages")
        return body

    def whole(self, frame: Frame, spoken: Spoken) -> Json:
        choices = [
            {
                "index": index,
                "message": message_of(choice),
                "logprobs": None,
                "finish_reason": choice.finish_reason,
                **({"roundhouse": spoken.about[index]} if spoken.about else {}),
            }
            for index, choice in enumerate(spoken.choices)
        ]
        return {
            "id": frame.id,
            "object": "chat.completion",
            "created": frame.created,
            "model": frame.model,
            "choices": choices,
            "usage": usage_of(spoken.usage),
            **({"roundhouse": spoken.extra} if spoken.extra is not None else {}),
        }

    def stream(self, frame: Frame) -> Stream:
        return _Chunks(frame)


class _Chunks:
    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._begun: set[int] = set()

    def pieces(self, pieces: Sequence[Mapping[str, Any]]) -> bytes:
        return b"".join(self._chunk([self._choice(piece)]) for piece in pieces)

    def end(self, spoken: Spoken) -> bytes:
        last: Json = {}
        if self._frame.wants_usage:
            last["usage"] = usage_of(spoken.usage)
        told = dict(spoken.extra) if spoken.extra is not None else {}
        if spoken.about:
            told["choices"] = list(spoken.about)
        if told:
            last["roundhouse"] = told
        return (self._chunk([], **last) if last else b"") + _DONE

    def _choice(self, piece: Mapping[str, Any]) -> Json:
        index, delta = piece.get("index", 0), dict(piece.get("delta") or {})
        if index in self._begun:
            delta.pop("role", None)
        else:
            delta = {"role": "assistant", **delta}
            self._begun.add(index)
        finish = piece.get("finish_reason")
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}

    def _chunk(self, choices: list[Json], **more: Any) -> bytes:
        frame = self._frame
        head = {"id": frame.id, "object": "chat.completion.chunk", "created": frame.created}
        return event({**head, "model": frame.model, "choices": choices, **more})


def usage_of(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }
