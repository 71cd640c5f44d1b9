"""The rest of a broken answer: whether another engine can give it, and the request for it.

The engine renders what was said as the beginning of the assistant's turn and goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

PATHS: Final = frozenset(["/v1/chat/completions", "/v1/completions"])
_CHAT: Final = "/v1/chat/completions"
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_COMPLETION_TOKENS: Final = 16  # what engines, like OpenAI, take for a completion without a limit
# A grammar would begin anew, log probabilities and echoes would not join, and what tells tokens
# by their numbers cannot be told as text. Names of vLLM, SGLang and llama.cpp.
_WHOLE_ONLY: Final = frozenset(
    [
        "logprobs",
        "prompt_logprobs",
        "echo",
        "suffix",
        "return_token_ids",
        "return_tokens_as_token_ids",
        "return_prompt_text",
        "use_beam_search",
        "truncate_prompt_tokens",
        "prompt_embeds",
        "kv_transfer_params",
        "audio",
        "functions",
        "structured_outputs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "json_schema",
        "regex",
        "ebnf",
        "grammar",
    ]
)
_Body = dict[str, msgspec.Raw]
_body = msgspec.json.Decoder(_Body)
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Rest:
    """`body` asks for what follows after all that was said but its last white space, `overlap`.

    Many chat templates cut that white space off, so the engine is to say it again. `n_tokens` of
    the request's prompt are the answer's.
    """

    body: bytes
    overlap: str
    n_tokens: int


def is_continuable(body: bytes, path: str) -> bool:
    """Would an answer to this request still be one if two engines gave a part of it each?"""
    try:
        fields = _body.decode(body)
        return path in PATHS and _is_plain(fields) and _is_open(fields, path)
    except _UNREADABLE:
        return False


def rest_of(body: bytes, path: str, said: str, n_tokens: int) -> Rest | None:
    """For a body that is continuable, whose answer began with `said`; None when no token is left
    to be asked for."""
    kept = said.rstrip() if path == _CHAT else said
    if not kept:
        return Rest(body, said, 0)
    fields = _body.decode(body)
    if path != _CHAT and _value(fields, "max_tokens") is None:
        fields["max_tokens"] = _raw(_COMPLETION_TOKENS)
    if not _shorten(fields, n_tokens):
        return None
    if path == _CHAT:
        _continue_chat(fields, kept)
    else:
        fields["prompt"] = _raw(_value(fields, "prompt") + kept)
    return Rest(msgspec.json.encode(fields), said[len(kept) :], n_tokens)


def _is_plain(fields: _Body) -> bool:
    if any(_value(fields, name) not in (None, 1) for name in ("n", "best_of")):
        return False
    if any(bytes(fields[name]) not in (b"null", b"false") for name in _WHOLE_ONLY & fields.keys()):
        return False
    wanted = _value(fields, "response_format")
    if wanted is not None and wanted != {"type": "text"}:
        return False
    return _value(fields, "tool_choice") in (None, "none", "auto")


def _is_open(fields: _Body, path: str) -> bool:
    """Is there an end to which an engine's words can be added?"""
    if path != _CHAT:
        return isinstance(_value(fields, "prompt"), str)
    messages = _messages.decode(fields.get("messages", _raw([])))
    if _value(fields, "continue_final_message"):
        return bool(messages) and isinstance(_content(messages[-1]), str)
    return bool(messages) and _value(fields, "add_generation_prompt") is not False


def _continue_chat(fields: _Body, said: str) -> None:
    messages = _messages.decode(fields["messages"])
    if _value(fields, "continue_final_message"):
        last = msgspec.json.decode(messages.pop())
        message = last | {"content": last["content"] + said}
    else:
        message = {"role": "assistant", "content": said}
    fields["messages"] = _raw([*messages, message])
    fields["add_generation_prompt"] = msgspec.Raw(b"false")
    fields["continue_final_message"] = msgspec.Raw(b"true")


def _shorten(fields: _Body, n_tokens: int) -> bool:
    """Takes what was said off the limits; False when nothing is left."""
    for name in _LIMITS:
        if limit := _number(fields, name):
            if limit <= n_tokens:
                return False
            fields[name] = _raw(limit - n_tokens)
    if least := _number(fields, "min_tokens"):
        fields["min_tokens"] = _raw(max(0, least - n_tokens))
    return True


def _number(fields: _Body, name: str) -> int | None:
    value = _value(fields, name)
    return value if isinstance(value, int) else None


def _content(message: msgspec.Raw) -> Any:
    read = msgspec.json.decode(message)
    return read.get("content") if isinstance(read, dict) else None


def _value(fields: _Body, name: str) -> Any:
    return msgspec.json.decode(fields[name]) if name in fields else None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
