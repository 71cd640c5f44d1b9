"""An engine's own error answer as a failure of the tree, or as an answer to pass on."""

from __future__ import annotations

import re

import msgspec

from common.errors import (
    ContextTooLongError,
    EngineDeadError,
    EngineError,
    EngineOverloadedError,
    OutOfMemoryError,
)

_OVERLOADED = frozenset({429, 503, 529})  # 529 is Anthropic's
_FAILED = frozenset({500, 502, 504})
_SAYS_WHICH = frozenset({400, 413})
_SEARCHED_BYTES = 4096
_NO_MEMORY = re.compile(rb"out of memory|OutOfMemoryError|failed to allocate", re.IGNORECASE)
_DEAD = re.compile(rb"EngineCore encountered an issue|EngineDeadError")
# In order: OpenAI's code; vLLM's two wordings; llama.cpp's type; its wording; Anthropic's wording.
_TOO_LONG = re.compile(
    rb"context_length_exceeded"
    rb"|maximum context length is"
    rb"|longer than the maximum model length"
    rb"|exceed_context_size_error"
    rb"|exceeds the available context size"
    rb"|prompt is too long"
)
# llama.cpp answers these with a 500.
_OF_THE_REQUEST = re.compile(
    rb"input is not supported|Failed to parse (?:messages|tools)|param requires --jinja"
)
_OPENAIS_CODE = b"context_length_exceeded"
_UNCODED = re.compile(
    rb"maximum context length is|longer than the maximum model length|exceed_context_size_error"
)


def failure_of(status: int, body: bytes, replica_id: str) -> EngineError | None:
    """The failure behind an error answer; None when the answer is the client's."""
    if status not in _OVERLOADED and status not in _FAILED and status not in _SAYS_WHICH:
        return None
    said = body[:_SEARCHED_BYTES]
    if status not in _OVERLOADED and _TOO_LONG.search(said):  # older llama.cpp says so with a 500
        return ContextTooLongError(message_in(body))  # it has not failed
    kind: type[EngineError]
    if status in _SAYS_WHICH:
        return None
    if _NO_MEMORY.search(said):
        kind = OutOfMemoryError
    elif _DEAD.search(said):
        kind = EngineDeadError
    else:
        kind = EngineOverloadedError if status in _OVERLOADED else EngineError
    return kind(f"replica {replica_id} failed: {message_in(body)}")


def is_foreign(body: bytes) -> bool:
    """Is it vLLM's or llama.cpp's error for a prompt that is too long, without OpenAI's code?"""
    said = body[:_SEARCHED_BYTES]
    return _OPENAIS_CODE not in said and _UNCODED.search(said) is not None


def is_of_the_request(body: bytes) -> bool:
    """Is the fault in what was asked, whatever the status says? The engine is well then."""
    return _OF_THE_REQUEST.search(body[:_SEARCHED_BYTES]) is not None


def message_in(body: bytes) -> str:
    """The words of an engine's error answer, whatever its form."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace") or "no reason given"


def retry_after_s(value: bytes | None) -> float | None:
    """Seconds from a Retry-After header; a date or nonsense is None."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
