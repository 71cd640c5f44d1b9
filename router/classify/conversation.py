"""What a request says to the classifier: the last user text and what stood before it.

Reads the bodies of chat completions, completions, responses and Anthropic messages leniently:
what has another shape than expected is passed over, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

EDGE_CHARS = 600  # kept of either end of a long text; the wish stands at its start or end
TURNS_KEPT = 6
_IMAGE_PARTS = ("image_url", "input_image", "image")
_FILE_PARTS = ("file", "input_file", "document")
_TOOL_PARTS = ("tool_result", "function_call_output", "tool_use", "function_call")


@dataclass(frozen=True)
class Turn:
    role: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """`text` and `before` are clipped; `n_chars` counts all text of the request."""

    text: str
    before: tuple[Turn, ...] = ()  # newest last
    tools: tuple[str, ...] = ()
    has_tools: bool = False
    has_images: bool = False
    has_files: bool = False
    n_chars: int = 0
    wants_json: bool = False
    max_tokens: int | None = None


class _Body(msgspec.Struct):
    messages: Any = None
    prompt: Any = None
    input: Any = None
    system: Any = None
    instructions: Any = None
    tools: Any = None
    functions: Any = None
    response_format: Any = None
    text: Any = None
    guided_json: Any = None
    structured_outputs: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None


_decoder = msgspec.json.Decoder(_Body)


def of_text(text: str) -> Conversation:
    """A bare prompt, as the command line has it."""
    return Conversation(clip(text), n_chars=len(text))


def read(path: str, body: bytes) -> Conversation | None:
    """The conversation of a request body; None where there is no text to classify."""
    try:
        fields = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    turns, parts = _turns(path, fields)
    last = next((i for i in range(len(turns) - 1, -1, -1) if turns[i].role == "user"), None)
    if last is None:
        return None
    tools = _tool_names(fields.tools) or _tool_names(fields.functions)
    return Conversation(
        text=clip(turns[last].text),
        before=tuple(Turn(t.role, clip(t.text)) for t in turns[max(0, last - TURNS_KEPT) : last]),
        tools=tools,
        has_tools=bool(fields.tools or fields.functions),
        has_images=any(kind in _IMAGE_PARTS for kind in parts),
        has_files=any(kind in _FILE_PARTS for kind in parts),
        n_chars=sum(len(turn.text) for turn in turns),
        wants_json=_wants_json(fields),
        max_tokens=_max_tokens(fields),
    )


def clip(text: str, edge: int = EDGE_CHARS) -> str:
    return text if len(text) <= 2 * edge else f"{text[:edge]}\n{text[-edge:]}"


def _turns(path: str, fields: _Body) -> tuple[list[Turn], set[str]]:
    """Every turn with text, oldest first, and the kinds of parts that were met."""
    kinds: set[str] = set()
    turns = [
        Turn("system", text)
        for value in (fields.system, fields.instructions)
        if (text := _text(value, kinds))
    ]
    for item in _items(path, fields):
        role, text = _role(item), _text(item, kinds)
        # Tool results come back under the user's role, without a word of the user.
        if text.strip():
            turns.append(Turn(role, text))
    return turns, kinds


def _items(path: str, fields: _Body) -> Sequence[Any]:
    if path.endswith("/responses"):
        order = (fields.input, fields.messages, fields.prompt)
    else:
        order = (fields.messages, fields.prompt, fields.input)
    found = next((value for value in order if value), ())
    if isinstance(found, str):
        return (found,)
    return found if isinstance(found, list) else ()


def _role(item: Any) -> str:
    role = item.get("role") if isinstance(item, dict) else None
    if role == "developer":
        return "system"
    return role if isinstance(role, str) else "user"


def _text(value: Any, kinds: set[str]) -> str:
    return "\n".join(_pieces(value, kinds)) if value else ""


def _pieces(value: Any, kinds: set[str]) -> Iterator[str]:
    """The texts within a message, a part or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _pieces(part, kinds)
    elif isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str):
            kinds.add(kind)
        if kind not in _TOOL_PARTS:
            for key in ("content", "text"):
                if isinstance(value.get(key), str | list):
                    yield from _pieces(value[key], kinds)


def _tool_names(tools: Any) -> tuple[str, ...]:
    names = (_tool_name(tool) for tool in tools) if isinstance(tools, list) else ()
    return tuple(name for name in names if name)


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, dict):
        return ""
    inner = tool.get("function")
    name = (inner if isinstance(inner, dict) else tool).get("name") or tool.get("type")
    return name if isinstance(name, str) else ""


def _wants_json(fields: _Body) -> bool:
    if fields.guided_json or fields.structured_outputs:
        return True
    asked = fields.response_format
    if isinstance(fields.text, dict):  # the Responses API's place for it
        asked = asked or fields.text.get("format")
    return isinstance(asked, dict) and str(asked.get("type", "")).startswith("json")


def _max_tokens(fields: _Body) -> int | None:
    asked = (fields.max_completion_tokens, fields.max_output_tokens, fields.max_tokens)
    return next((n for n in asked if isinstance(n, int) and not isinstance(n, bool)), None)
