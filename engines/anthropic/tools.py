"""Tools, calls of them and their results, from OpenAI's form to Anthropic's. No I/O."""

from __future__ import annotations

import json
from typing import Any

from engines.anthropic.content import Json, Untranslatable, blocks_of

_NO_ARGUMENTS: Json = {"type": "object", "properties": {}}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def tool_of(tool: Any, place: str) -> Json:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise Untranslatable(place, "only functions with a name can be tools")
    made = {
        "name": function["name"],
        "input_schema": function.get("parameters") or _NO_ARGUMENTS,
    }
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("strict"):
        made["strict"] = True
    return made


def choice_of(choice: Any, *, parallel: bool | None) -> Json | None:
    """None leaves it to the API's own default, which is auto."""
    made = _choice(choice)
    if parallel is not False:
        return made
    made = made or {"type": "auto"}
    return made if made["type"] == "none" else made | {"disable_parallel_tool_use": True}


def uses_of(message: Json, place: str) -> list[Json]:
    """The tools that an earlier answer called."""
    calls = message.get("tool_calls") or ()
    return [_use(call, f"{place}.tool_calls.{i}") for i, call in enumerate(calls)]


def results_of(message: Json, place: str) -> list[Json]:
    """What a called tool has said."""
    if not message.get("tool_call_id"):
        raise Untranslatable(f"{place}.tool_call_id", "it must say which call it answers")
    result: Json = {"type": "tool_result", "tool_use_id": message["tool_call_id"]}
    content = message.get("content")
    if content:
        result["content"] = content if isinstance(content, str) else blocks_of(content, place)
    return [result]


def _choice(choice: Any) -> Json | None:
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    name = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if not name:
        raise Untranslatable("tool_choice", f"{choice!r} is not known there")
    return {"type": "tool", "name": name}


def _use(call: Any, place: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not call.get("id"):
        raise Untranslatable(place, "only calls of functions with an id can be told")
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, TypeError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Untranslatable(f"{place}.function.arguments", "they are no JSON object")
    return {"type": "tool_use", "id": call["id"], "name": function.get("name"), "input": arguments}
