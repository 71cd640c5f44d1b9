"""A request's body as mlx_lm.server can honour it. Pure.

It ignores fields that it does not know, and fails on a null. What would silently change an answer
is refused here instead; what has another spelling there is translated.
"""

from __future__ import annotations

import json
from typing import Any

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ROUTES = (CHAT, TEXT)
# They make it load other weights, from anywhere on the disk or from the hub.
_LOADS = ("adapters", "draft_model")
_TEXT_PARTS = frozenset({"text", "input_text"})
Body = dict[str, Any]


class Refused(BaseException):
    """An answer in OpenAI's shape that is no completion.

    No Exception: the handler catches all of those, and makes a 404 of them in a shape of its own.
    """

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    def body(self) -> bytes:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        found = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return json.dumps({"error": found}).encode()


def prepared(path: str, body: bytes) -> bytes:
    """Raises Refused for what cannot be done there."""
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from None
    if not isinstance(asked, dict):
        raise Refused(400, "the body is no JSON object")
    asked = {name: value for name, value in asked.items() if value is not None}
    _refuse_what_is_ignored(asked)
    if isinstance(asked.get("stream_options"), dict):
        asked["stream_options"] = {"include_usage": False, **asked["stream_options"]}
    return json.dumps(_chat(asked) if path == CHAT else _text(asked)).encode()


def _refuse_what_is_ignored(asked: Body) -> None:
    for name in _LOADS:
        if name in asked:
            raise _cannot(name, "is no field of a request here")
    if asked.get("n", 1) != 1:
        raise _cannot("n", "must be 1: engine mlx gives one answer to a request")
    form = asked.get("response_format", {"type": "text"})
    if not isinstance(form, dict) or form.get("type") != "text":
        raise _cannot("response_format", "must be text: engine mlx cannot hold answers to a form")


def _chat(asked: Body) -> Body:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise _cannot("messages", "must be a list of messages")
    if not messages:
        raise _cannot("messages", "holds no message")
    parts = (part for m in messages if isinstance(m.get("content"), list) for part in m["content"])
    if any(not isinstance(part, dict) or part.get("type") not in _TEXT_PARTS for part in parts):
        raise _cannot("messages", "hold parts other than text; engine mlx takes text only here")
    choice = asked.pop("tool_choice", "auto")
    if choice == "none":
        asked.pop("tools", None)
    elif choice != "auto":
        raise _cannot("tool_choice", "must be auto or none: engine mlx cannot force a call")
    return asked


def _text(asked: Body) -> Body:
    prompt = asked.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        asked["prompt"] = prompt = prompt[0]
    if not isinstance(prompt, str):
        raise _cannot("prompt", "must be one text: engine mlx takes no tokens and no batches")
    for name in ("echo", "suffix"):
        if asked.get(name):
            raise _cannot(name, "is not supported by engine mlx")
    if asked.get("best_of", 1) != 1:
        raise _cannot("best_of", "must be 1: engine mlx gives one answer to a request")
    count = asked.get("logprobs")
    if isinstance(count, int) and not isinstance(count, bool):  # a number here, true in a chat
        asked |= {"logprobs": True, "top_logprobs": count}
    return asked


def _cannot(name: str, why: str) -> Refused:
    return Refused(400, f"{name}: {why}", "unsupported_value")
