"""A chat completion request, said in the words of Anthropic's Messages API. No I/O.

What would change the answer's shape and cannot be said there is an error; hints that it has no
word for (seed, penalties, service_tier and the like) are left out.
"""

from __future__ import annotations

from typing import Any

from engines.anthropic.content import Untranslatable, blocks_of, text_of
from engines.anthropic.tools import choice_of, results_of, tool_of, uses_of

Json = dict[str, Any]
_HOTTEST = 1.0  # OpenAI's temperature goes up to 2, Anthropic's to 1
_REFUSED = ("logprobs", "top_logprobs", "logit_bias", "functions", "function_call", "audio")
__all__ = ["Untranslatable", "to_messages"]


def to_messages(chat: Json, model: str, max_tokens: int) -> Json:
    """Raises Untranslatable. `max_tokens` holds where the request names no limit."""
    _refuse(chat)
    system, messages = _conversation(chat.get("messages"))
    limit = chat.get("max_completion_tokens") or chat.get("max_tokens") or max_tokens
    asked: Json = {"model": model, "max_tokens": limit, "messages": messages}
    if system:
        asked["system"] = system
    asked |= _sampling(chat) | _tools(chat) | _format(chat.get("response_format"))
    if chat.get("stream"):
        asked["stream"] = True
    if isinstance(chat.get("user"), str):
        asked["metadata"] = {"user_id": chat["user"]}
    return asked


def _refuse(chat: Json) -> None:
    if chat.get("n") not in (None, 1):
        raise Untranslatable("n", "it gives one answer a request")
    for name in _REFUSED:
        if chat.get(name):
            raise Untranslatable(name, "it knows nothing of the kind")
    if "audio" in (chat.get("modalities") or ()):
        raise Untranslatable("modalities", "it answers with text")


def _conversation(messages: Any) -> tuple[str, list[Json]]:
    """The system prompt, and turns in which neighbours of one role are one message."""
    if not isinstance(messages, list) or not messages:
        raise Untranslatable("messages", "there must be at least one")
    system: list[str] = []
    turns: list[Json] = []
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if not isinstance(message, dict):
            raise Untranslatable(place, "it is no object")
        if message.get("role") in ("system", "developer"):
            system.append(text_of(message.get("content"), place))
            continue
        role, blocks = _turn(message, place)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    _trim(turns)
    return "\n\n".join(filter(None, system)), turns


def _turn(message: Json, place: str) -> tuple[str, list[Json]]:
    role = message.get("role")
    if role == "user":
        return "user", blocks_of(message.get("content"), place)
    if role == "tool":
        return "user", results_of(message, place)
    if role == "assistant":
        if message.get("function_call"):
            raise Untranslatable(f"{place}.function_call", "use tool_calls")
        return "assistant", blocks_of(message.get("content"), place) + uses_of(message, place)
    raise Untranslatable(f"{place}.role", f"{role!r} is not known there")


def _trim(turns: list[Json]) -> None:
    """An answer that is to be gone on with must not end in white space there."""
    if not turns or turns[-1]["role"] != "assistant":
        return
    blocks = turns[-1]["content"]
    if blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
        if not blocks[-1]["text"]:
            blocks.pop()
    if not blocks:
        turns.pop()


def _sampling(chat: Json) -> Json:
    asked: Json = {}
    if chat.get("temperature") is not None:
        asked["temperature"] = _at_most(chat["temperature"], _HOTTEST)
    if chat.get("top_p") is not None:
        asked["top_p"] = chat["top_p"]
    stop = chat.get("stop")
    if stop:
        asked["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return asked


def _at_most(value: Any, limit: float) -> Any:
    return min(value, limit) if isinstance(value, int | float) else value


def _tools(chat: Json) -> Json:
    tools = chat.get("tools")
    if not tools:
        return {}
    asked: Json = {"tools": [tool_of(tool, f"tools.{i}") for i, tool in enumerate(tools)]}
    choice = choice_of(chat.get("tool_choice"), parallel=chat.get("parallel_tool_calls"))
    return asked | ({"tool_choice": choice} if choice else {})


def _format(wanted: Any) -> Json:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or kind == "text":
        return {}
    if kind == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema")
        return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    raise Untranslatable("response_format", "it takes text and json_schema")
