"""A program that speaks OpenAI's chat completions, as strict about requests as the real one.

It answers "You said: ..." with the last message's text, or calls the first tool. Its paths lie
under /v1 and, as with some other providers, under /api/paas/v4. Written from the public API
reference; checked in test_clouds.py by OpenAI's own SDK.
"""

from __future__ import annotations

from aiohttp import web

from tests.fakes.cloud import KEY, Cloud, Json, RefusedError, main, sse, stream

MODELS = ("gpt-fake", "gpt-fake-2024-11-20")
KINDS = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "requests",
    500: "server_error",
    503: "server_error",
}
FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "user",
        "n",
        "seed",
        "response_format",
        "logprobs",
        "frequency_penalty",
        "presence_penalty",
        "metadata",
        "store",
        "reasoning_effort",
    ]
)


def body_of(kind: str, message: str) -> Json:
    code = "rate_limit_exceeded" if kind == "requests" else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


cloud = Cloud(body_of, KINDS)


def check_key(request: web.Request) -> None:
    given = request.headers.get("authorization", "")
    if given != f"Bearer {KEY}":
        raise RefusedError(401, KINDS[401], f"Incorrect API key provided: {given[:12]}***")


def check(body: Json) -> None:
    if extra := sorted(set(body) - FIELDS):
        raise RefusedError(400, KINDS[400], f"Unrecognized request argument supplied: {extra[0]}")
    if body["model"] not in MODELS:
        raise RefusedError(404, KINDS[404], f"The model `{body['model']}` does not exist")
    if body.get("stream_options") and not body.get("stream"):
        raise RefusedError(400, KINDS[400], "'stream_options' only with 'stream'")


def message_of(body: Json) -> Json:
    last = body["messages"][-1]
    content = last["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    if body.get("tools") and last["role"] != "tool":
        function = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
        call = {"id": "call_0", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": f"You said: {text}", "refusal": None}


USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 5,
    "total_tokens": 25,
    "prompt_tokens_details": {"cached_tokens": 8},
}


def head(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": body["model"]}


def chunks_of(body: Json) -> list[bytes]:
    told = (body.get("stream_options") or {}).get("include_usage")
    extra: Json = {"usage": None} if told else {}
    message = message_of(body)
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if message.get("tool_calls"):
        deltas.append({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]})
    deltas += [{"content": f"{word} "} for word in (message["content"] or "").split(" ")]
    out = [chunk(body, delta, None, extra) for delta in deltas]
    out.append(chunk(body, {}, finish_of(message), extra))
    if told:
        out.append(sse({**head(body, "chat.completion.chunk"), "choices": [], "usage": USAGE}))
    return [*out, b"data: [DONE]\n\n"]


def chunk(body: Json, delta: Json, finish: str | None, extra: Json) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse({**head(body, "chat.completion.chunk"), "choices": [choice], **extra})


def finish_of(message: Json) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


async def chat(request: web.Request) -> web.StreamResponse:
    check_key(request)
    body = await request.json()
    check(body)
    if body.get("stream"):
        pieces = chunks_of(body)
        if cloud.takes("error_event"):
            pieces = [*pieces[:3], sse(body_of(KINDS[500], "The server had an error"))]
        return await stream(request, pieces, cut=cloud.takes("cut_stream"))
    message = message_of(body)
    choice = {"index": 0, "message": message, "finish_reason": finish_of(message)}
    answer = {**head(body, "chat.completion"), "choices": [choice], "usage": USAGE}
    headers = {"openai-organization": "org-of-the-owner", "x-ratelimit-remaining-requests": "9"}
    return web.json_response(answer, headers=headers)


async def models(request: web.Request) -> web.Response:
    check_key(request)
    rows = [{"id": n, "object": "model", "created": 1, "owned_by": "fake"} for n in MODELS]
    return web.json_response({"object": "list", "data": rows})


for prefix in ("/v1", "/api/paas/v4"):
    cloud.app.router.add_post(f"{prefix}/chat/completions", chat)
    cloud.app.router.add_get(f"{prefix}/models", models)

if __name__ == "__main__":
    main(cloud)
