"""Anthropic's answers and errors in OpenAI's form. No I/O."""

from __future__ import annotations

import json
from typing import Any

from common.errors import EngineError, EngineOverloadedError
from engines.prices import Tokens

Json = dict[str, Any]
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_OVERLOADED = frozenset({"overloaded_error", "rate_limit_error"})
BUSY = 529  # Anthropic's own status; OpenAI's clients know it as 503


def to_completion(message: Json, created: int) -> Json:
    """A whole answer. `created` is in seconds since 1970."""
    choice = {
        "index": 0,
        "message": _message(message.get("content") or []),
        "logprobs": None,
        "finish_reason": finish_of(message.get("stop_reason")),
    }
    return {
        "id": message.get("id"),
        "object": "chat.completion",
        "created": created,
        "model": message.get("model"),
        "choices": [choice],
        "usage": usage_of(tokens_of(message.get("usage") or {})),
    }


def _message(blocks: list[Json]) -> Json:
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    calls = [call_of(block) for block in blocks if block["type"] == "tool_use"]
    said: Json = {"role": "assistant", "content": text or None, "refusal": None}
    if not calls and text == "":
        said["content"] = ""
    if thought:
        said["reasoning_content"] = thought
    if calls:
        said["tool_calls"] = calls
    return said


def call_of(block: Json) -> Json:
    arguments = json.dumps(block.get("input") or {}, ensure_ascii=False)
    function = {"name": block["name"], "arguments": arguments}
    return {"id": block["id"], "type": "function", "function": function}


def finish_of(stop_reason: str | None) -> str:
    return _FINISH.get(stop_reason or "", "stop")


def tokens_of(usage: Json) -> Tokens:
    """Anthropic counts what a cache took or gave beside `input_tokens`, OpenAI within it."""
    read = usage.get("cache_read_input_tokens") or 0
    write = usage.get("cache_creation_input_tokens") or 0
    prompt = (usage.get("input_tokens") or 0) + read + write
    return Tokens(prompt, usage.get("output_tokens") or 0, read, write)


def usage_of(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
    }


def to_error(body: bytes) -> Json:
    """OpenAI's error object of whatever came with an error's status."""
    kind, message = error_in(body)
    error = {"message": message, "type": kind, "param": None, "code": kind, "src": "engine"}
    return {"error": error}


def error_in(body: bytes) -> tuple[str, str]:
    """Type and words of an error."""
    try:
        error = json.loads(body)["error"]
        return str(error["type"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "api_error", body[:200].decode(errors="replace") or "no reason given"


def failure_in(event: bytes) -> EngineError:
    """The failure that an error event tells of."""
    kind, message = error_in(event)
    failed = EngineOverloadedError if kind in _OVERLOADED else EngineError
    return failed(f"the provider broke off: {kind}: {message}")
