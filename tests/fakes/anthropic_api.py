"""A program that speaks Anthropic's Messages API, as strict about requests as the real one.

It answers "You said: ..." with the last user text. With tools it calls the first one (and, where
parallel use is allowed, every one), unless the last message holds results, which it then repeats.
Written from the public API reference; checked in test_clouds.py by Anthropic's own SDK.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.fakes.cloud import KEY, Cloud, Json, RefusedError, main, sse, stream

MODELS = ("claude-fake-1", "claude-fake-2")
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "system",
        "metadata",
        "stop_sequences",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "service_tier",
    ]
)
BLOCKS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking"},
}


def body_of(kind: str, message: str) -> Json:
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": "req_011fake"}


cloud = Cloud(body_of, KINDS)


def refuse(message: str) -> RefusedError:
    return RefusedError(400, KINDS[400], message)


def check_key(request: web.Request) -> None:
    """As documented for the first version, and as Anthropic's own SDK (2.12) does for its."""
    version = request.headers.get("anthropic-version")
    if version not in ("2023-06-01", "2026-10-21"):
        raise refuse("anthropic-version: header is required")
    given = request.headers.get("x-api-key")
    if version != "2023-06-01":
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if given != KEY:
        raise RefusedError(401, KINDS[401], f"invalid API key {given}")


def check(body: Json) -> None:
    if extra := sorted(set(body) - FIELDS):
        raise refuse(f"{extra[0]}: Extra inputs are not permitted")
    for name in ("model", "messages"):
        if name not in body:
            raise refuse(f"{name}: Field required")
    if body["model"] not in MODELS:
        raise RefusedError(404, KINDS[404], f"model: {body['model']}")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise refuse("temperature: range: 0..1")
    if not body["messages"]:
        raise refuse("messages: at least one message is required")
    for index, message in enumerate(body["messages"]):
        check_message(message, f"messages.{index}")
    check_results(body["messages"])
    check_tools(body)


def check_message(message: Json, place: str) -> None:
    if message["role"] not in BLOCKS:
        raise refuse(f"{place}.role: Input should be 'user' or 'assistant'")
    if isinstance(message["content"], str):
        return
    for index, block in enumerate(message["content"]):
        if block["type"] not in BLOCKS[message["role"]]:
            raise refuse(f"{place}.content.{index}: type {block['type']!r} is not allowed")
        if block["type"] == "text" and not block["text"]:
            raise refuse("messages: text content blocks must be non-empty")
        if block["type"] == "image" and block["source"]["type"] not in ("base64", "url"):
            raise refuse(f"{place}.content.{index}.image.source: unknown type")
        if block["type"] == "tool_use" and not isinstance(block["input"], dict):
            raise refuse(f"{place}.content.{index}.tool_use.input: should be a dictionary")


def blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check_results(messages: list[Json]) -> None:
    """Every call is answered in the next message, before anything else that is said there."""
    for before, after in zip([{"content": []}, *messages], messages, strict=False):
        called = {b["id"] for b in blocks(before) if b["type"] == "tool_use"}
        kinds = [b["type"] for b in blocks(after)]
        answered = {b["tool_use_id"] for b in blocks(after) if b["type"] == "tool_result"}
        if answered != called:
            raise refuse(f"tool_use ids {sorted(called)} and tool_result ids {sorted(answered)}")
        if answered and "tool_result" in kinds[len(answered) :]:
            raise refuse("tool_result blocks must come first in their message")


def check_tools(body: Json) -> None:
    for index, tool in enumerate(body.get("tools", [])):
        if tool.get("input_schema", {}).get("type") != "object":
            raise refuse(f"tools.{index}.input_schema.type: Input should be 'object'")
    choice = body.get("tool_choice")
    if choice and choice["type"] not in ("auto", "any", "tool", "none"):
        raise refuse("tool_choice.type: unknown")
    if choice and not body.get("tools"):
        raise refuse("tool_choice may only be specified while providing tools")


def reply(body: Json) -> tuple[list[Json], str, str | None]:
    """Blocks, stop_reason and stop_sequence."""
    last = blocks(body["messages"][-1])
    results = [b for b in last if b["type"] == "tool_result"]
    choice = body.get("tool_choice", {"type": "auto"})
    if body.get("tools") and not results and choice["type"] != "none":
        return calls(body["tools"], choice), "tool_use", None
    said = " ".join(b["text"] for b in last if b["type"] == "text")
    said += "".join(f" <{b['source']['type']} {b['type']}>" for b in last if "source" in b)
    text = f"You said: {said}" if not results else f"The tools said: {heard(results)}"
    return cut(text, body)


def heard(results: list[Json]) -> str:
    parts = [result.get("content", "") for result in results]
    return ", ".join(p if isinstance(p, str) else p[0]["text"] for p in parts)


def calls(tools: list[Json], choice: Json) -> list[Json]:
    if choice["type"] == "tool":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    if choice.get("disable_parallel_tool_use"):
        tools = tools[:1]
    return [
        {"type": "tool_use", "id": f"toolu_{i}", "name": t["name"], "input": arguments(t)}
        for i, t in enumerate(tools)
    ]


def arguments(tool: Json) -> Json:
    return {name: f"some {name}" for name in tool["input_schema"].get("properties", {})}


def cut(text: str, body: Json) -> tuple[list[Json], str, str | None]:
    for stop in body.get("stop_sequences", []):
        if stop in text:
            return (
                [{"type": "text", "text": text.split(stop, maxsplit=1)[0]}],
                "stop_sequence",
                stop,
            )
    words = text.split(" ")
    if len(words) > body["max_tokens"]:
        short = " ".join(words[: body["max_tokens"]])
        return [{"type": "text", "text": short}], "max_tokens", None
    return [{"type": "text", "text": text}], "end_turn", None


def message_of(body: Json) -> Json:
    content, reason, stop = reply(body)
    said = " ".join(str(block.get("text", block.get("name"))) for block in content)
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 7,
        "output_tokens": len(said.split()),
    }
    return {
        "id": "msg_01fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": reason,
        "stop_sequence": stop,
        "usage": usage,
    }


def named(data: Json) -> bytes:
    return sse(data, data["type"])


def events_of(message: Json) -> list[bytes]:
    empty = {"content": [], "stop_reason": None, "stop_sequence": None}
    started = {**message, **empty, "usage": {**message["usage"], "output_tokens": 1}}
    out = [named({"type": "message_start", "message": started})]
    for index, block in enumerate(message["content"]):
        out += block_events(index, block)
        out.append(named({"type": "ping"}))
    delta = {key: message[key] for key in ("stop_reason", "stop_sequence")}
    usage = {"output_tokens": message["usage"]["output_tokens"]}
    out.append(named({"type": "message_delta", "delta": delta, "usage": usage}))
    return [*out, named({"type": "message_stop"})]


def block_events(index: int, block: Json) -> list[bytes]:
    start: Json
    if block["type"] == "text":
        start = {"type": "text", "text": ""}
        pieces = [{"type": "text_delta", "text": c} for c in halves(block["text"])]
    else:
        start = {**block, "input": {}}
        text = json.dumps(block["input"]) if block["input"] else ""
        parts = ["", *halves(text)] if text else [""]
        pieces = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    at: dict[str, Any] = {"index": index}
    deltas = [named({"type": "content_block_delta", **at, "delta": p}) for p in pieces]
    begin = named({"type": "content_block_start", **at, "content_block": start})
    return [begin, *deltas, named({"type": "content_block_stop", **at})]


def halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


async def messages(request: web.Request) -> web.StreamResponse:
    check_key(request)
    body = await request.json()
    if "max_tokens" not in body:
        raise refuse("max_tokens: Field required")
    check(body)
    message = message_of(body)
    if not body.get("stream"):
        answer = web.json_response(message)
        answer.headers["anthropic-organization-id"] = "org-of-the-owner"
        return answer
    pieces = events_of(message)
    if cloud.takes("overloaded_first"):
        pieces = [pieces[0], named(body_of(KINDS[529], "Overloaded"))]
    elif cloud.takes("error_event"):
        pieces = [*pieces[:3], named(body_of(KINDS[529], "Overloaded"))]
    return await stream(request, pieces, cut=cloud.takes("cut_stream"))


async def count_tokens(request: web.Request) -> web.Response:
    check_key(request)
    check(await request.json())
    return web.json_response({"input_tokens": 20})


async def models(request: web.Request) -> web.Response:
    check_key(request)
    rows = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in MODELS
    ]
    ends = {"first_id": MODELS[0], "last_id": MODELS[-1]}
    return web.json_response({"data": rows, "has_more": False, **ends})


cloud.app.router.add_post("/v1/messages", messages)
cloud.app.router.add_post("/v1/messages/count_tokens", count_tokens)
cloud.app.router.add_get("/v1/models", models)

if __name__ == "__main__":
    main(cloud)
