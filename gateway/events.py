"""Server-sent events, as far as the gateway looks at an engine's stream: where one ends, and
whether it speaks of a failure."""

from __future__ import annotations

import re

import msgspec

from common.errors import RoundhouseError, error_body

EVENT_ENDS = (b"\n\n", b"\n\r\n")
_WHOLE = re.compile(rb".*\n\r?\n", re.DOTALL)
_HELD_MAX_BYTES = 1 << 16  # an event that is longer goes out in pieces
_ERROR_STARTS = (b'data: {"error"', b"event: error\n")
_REQUEST_FAULTS = frozenset(
    {
        "BadRequestError",
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "not_found_error",
    }
)


def whole_events(data: bytes) -> tuple[bytes, bytes]:
    """What can be passed on, and the beginning of an event that may never come to its end.

    Half an event cannot be taken back, and an error event after it would be lost in it.
    """
    whole = _WHOLE.match(data)
    if whole:
        return data[: whole.end()], data[whole.end() :]
    return (data, b"") if len(data) > _HELD_MAX_BYTES else (b"", data)


def failure_in(first: bytes) -> str | None:
    """The words of an engine that answers 200 and then an event about its own failure.

    vLLM does so when its core is dead. An event that blames the request differs in code or type
    only, and is an answer like others: None.
    """
    if not first.startswith(_ERROR_STARTS):
        return None
    data = first.partition(b"data: ")[2].partition(b"\n")[0]
    try:
        error = msgspec.json.decode(data)["error"]
        code, kind, message = error.get("code"), error.get("type"), error.get("message")
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None
    blames_request = code < 500 if isinstance(code, int) else kind in _REQUEST_FAULTS
    return None if blames_request else str(message)


def error_event(failure: RoundhouseError, path: str) -> bytes:
    """The end of a broken stream, as OpenAI's and as Anthropic's clients expect it."""
    if path.startswith("/v1/messages"):
        text = msgspec.json.encode({"type": "error", **error_body(failure)})
        return b"event: error\ndata: " + text + b"\n\n"
    return b"data: " + msgspec.json.encode(error_body(failure)) + b"\n\ndata: [DONE]\n\n"
