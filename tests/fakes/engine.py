"""A program that speaks enough of vLLM's HTTP API to stand for an engine, at next to no CPU cost.

It answers with as many tokens as were asked for ("t0 t1 t2 ..."), at a given rate, goes on with an
answer that is given to it, and misbehaves on demand: `POST /fake/behaviour` sets a fault,
`POST /fake/pace` the rate, `POST /fake/reset` takes both back, and `GET /fake/stats` tells what it
saw.
Run it by path or with tests/fakes/running.py. Standard library only; uvloop is used if present.
"""

import argparse
import asyncio
import json
import os
import random
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, Final, Literal, cast

JsonObject = dict[str, Any]
End = Literal["complete", "close", "stall"]

GENERATION_PATHS: Final = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/embeddings"}
)
MODES: Final = frozenset(
    {
        "ok",
        "status",
        "hang",
        "slow_first_token",
        "cut_before_first_byte",
        "cut_after_headers",
        "cut_stream",
        "error_event_first",
        "error_event_after",
        "stall_after",
        "exit",
        "out_of_memory",
        "context_too_long",  # for prompts of more than n tokens
        "flaky",  # some of each, by the rates
    }
)
REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 411: "Length Required"}
SSE_HEADERS: Final = (
    b"HTTP/1.1 200 OK\r\nserver: fake\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK: Final = b"0\r\n\r\n"
DEAD_ENGINE: Final = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
}
# As vLLM 0.32 and torch word it.
BAD_REQUEST: Final = "BadRequestError"
TOO_LONG: Final = (
    "This model's maximum context length is {limit} tokens. However, your prompt contains "
    "{prompt} input tokens, which exceeds this limit even without any output tokens. "
    "Please reduce the length of the input prompt."
)
NO_MEMORY: Final = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.10 GiB free."
CREATED: Final = 1_700_000_000


@dataclass(frozen=True)
class Settings:
    models: tuple[str, ...]
    name: str
    token_rate: float
    first_token_delay_s: float
    burst: int


@dataclass
class Behaviour:
    """One fault, as posted; `times` None means until it is replaced."""

    mode: str = "ok"
    times: int | None = None
    n: int = 0
    seconds: float = 0.0
    status: int = 500
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    path: str = ""  # "" is every generation path; otherwise exactly this one
    error_rate: float = 0.0  # the rates are of "flaky": a 500
    hang_rate: float = 0.0
    cut_rate: float = 0.0  # after the first token, or within a whole answer


@dataclass
class Stats:
    requests: int = 0
    in_flight: int = 0
    completed: int = 0
    aborted: int = 0  # the client left before the end
    faulted: int = 0  # the fake broke the answer off, as it was told to
    connections: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    last: JsonObject = field(default_factory=dict)
    played: dict[str, int] = field(default_factory=dict)  # faults, by mode


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Script:
    """The events of one stream; only `tokens` are paced."""

    preamble: list[bytes]
    tokens: list[bytes]
    tail: list[bytes]
    end: End = "complete"
    dead: list[bytes] = field(default_factory=list)  # what a dead engine says instead

    def events(self) -> list[bytes]:
        return [*self.preamble, *self.tokens, *self.tail]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(value: Any, event: str = "") -> bytes:
    name = f"event: {event}\n" if event else ""
    return chunk(f"{name}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode())


def response(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    fields = {"server": "fake", "content-type": "application/json"} | (headers or {})
    lines = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    reason = REASONS.get(status, "Status")
    head = f"HTTP/1.1 {status} {reason}\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    return response(status, json.dumps(value, separators=(",", ":")).encode(), headers)


def error(status: int, message: str, kind: str) -> bytes:
    body = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return json_response(body, status)


DONE: Final = chunk(b"data: [DONE]\n\n")
DEAD_EVENTS: Final = [sse(DEAD_ENGINE), DONE]
DEAD_MESSAGE_EVENTS: Final = [
    sse(
        {"type": "error", "error": {"type": "internal_error", "message": "Invalid data format"}},
        "error",
    )
]


def usage(prompt: int, completion: int) -> JsonObject:
    total = prompt + completion
    return {"prompt_tokens": prompt, "total_tokens": total, "completion_tokens": completion}


def text(tokens: int) -> str:
    return "".join(f"t{i} " for i in range(tokens))


@dataclass(frozen=True)
class ChatAnswers:
    """`/v1/chat/completions`, streamed and whole."""

    model: str
    name: str

    def frame(self, choices: list[JsonObject], **extra: Any) -> JsonObject:
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": self.name,
            "choices": choices,
        } | extra

    def event(self, delta: JsonObject, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse(self.frame([choice]))

    def preamble(self, prompt: int) -> list[bytes]:
        return [self.event({"role": "assistant", "content": ""})]

    def token(self, i: int, last: bool, lead: str = "") -> bytes:
        return self.event({"content": f"{lead}t{i} "}, "length" if last else None)

    def tail(self, prompt: int, tokens: int, with_usage: bool) -> list[bytes]:
        counted = [sse(self.frame([], usage=usage(prompt, tokens)))] if with_usage else []
        return [*counted, DONE]

    def whole(self, prompt: int, tokens: int) -> JsonObject:
        message = {"role": "assistant", "content": text(tokens)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}
        counted = usage(prompt, tokens)
        return self.frame([choice], object="chat.completion", usage=counted)


@dataclass(frozen=True)
class CompletionAnswers:
    """`/v1/completions`, streamed and whole."""

    model: str
    name: str

    def frame(self, content: str, finish: str | None, **extra: Any) -> JsonObject:
        return {
            "id": "cmpl-fake",
            "object": "text_completion",
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": self.name,
            "choices": [{"index": 0, "text": content, "logprobs": None, "finish_reason": finish}],
        } | extra

    def preamble(self, prompt: int) -> list[bytes]:
        return []

    def token(self, i: int, last: bool, lead: str = "") -> bytes:
        return sse(self.frame(f"{lead}t{i} ", "length" if last else None))

    def tail(self, prompt: int, tokens: int, with_usage: bool) -> list[bytes]:
        counted = self.frame("", None, choices=[], usage=usage(prompt, tokens))
        return [*([sse(counted)] if with_usage else []), DONE]

    def whole(self, prompt: int, tokens: int) -> JsonObject:
        return self.frame(text(tokens), "length", usage=usage(prompt, tokens))


@dataclass(frozen=True)
class MessageAnswers:
    """Anthropic's `/v1/messages`, streamed and whole."""

    model: str
    name: str

    def whole(self, prompt: int, tokens: int) -> JsonObject:
        return {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "system_fingerprint": self.name,
            "content": [{"type": "text", "text": text(tokens)}],
            "stop_reason": "max_tokens",
            "stop_sequence": None,
            "usage": {"input_tokens": prompt, "output_tokens": tokens},
        }

    def event(self, kind: str, **fields: Any) -> bytes:
        return sse({"type": kind} | fields, kind)

    def preamble(self, prompt: int) -> list[bytes]:
        empty = self.whole(prompt, 0) | {"content": [], "stop_reason": None}
        block = {"type": "text", "text": ""}
        start = self.event("message_start", message=empty)
        return [start, self.event("content_block_start", index=0, content_block=block)]

    def token(self, i: int, last: bool, lead: str = "") -> bytes:
        delta = {"type": "text_delta", "text": f"{lead}t{i} "}
        return self.event("content_block_delta", index=0, delta=delta)

    def tail(self, prompt: int, tokens: int, with_usage: bool) -> list[bytes]:
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        counted = {"input_tokens": prompt, "output_tokens": tokens}
        return [
            self.event("content_block_stop", index=0),
            self.event("message_delta", delta=delta, usage=counted),
            self.event("message_stop"),
        ]


Answers = ChatAnswers | CompletionAnswers | MessageAnswers


@cache
def answers(path: str, model: str, name: str) -> Answers:
    if path == "/v1/chat/completions":
        return ChatAnswers(model, name)
    if path == "/v1/completions":
        return CompletionAnswers(model, name)
    return MessageAnswers(model, name)


@cache
def token_events(kind: Answers, count: int) -> list[bytes]:
    """`count` not-last token events: encoded once, shared by every stream of that length."""
    return [kind.token(i, last=False) for i in range(count)]


@lru_cache(maxsize=4096)
def script(kind: Answers, prompt: int, tokens: int, with_usage: bool) -> Script:
    events = [*token_events(kind, tokens - 1), kind.token(tokens - 1, last=True)] if tokens else []
    dead = DEAD_MESSAGE_EVENTS if isinstance(kind, MessageAnswers) else DEAD_EVENTS
    tail = kind.tail(prompt, tokens, with_usage)
    return Script(kind.preamble(prompt), events, tail, dead=dead)


@lru_cache(maxsize=4096)
def continuation(
    kind: Answers, prompt: int, tokens: int, with_usage: bool, first: int, lead: str
) -> Script:
    """The same stream from token `first` on, after white space where the prompt has none."""
    ids = range(first, first + tokens)
    events = [kind.token(i, i == ids[-1], lead if i == first else "") for i in ids]
    return replace(script(kind, prompt, tokens, with_usage), tokens=events)


def said_before(body: JsonObject) -> str:
    """The answer's beginning, where it stands in the request."""
    if not body.get("continue_final_message"):
        return str(body.get("prompt") or "")
    if body.get("add_generation_prompt"):
        raise ValueError("Cannot set both `continue_final_message` and `add_generation_prompt`")
    return str(body["messages"][-1]["content"])


@lru_cache(maxsize=4096)
def whole(kind: Answers, prompt: int, tokens: int) -> bytes:
    return json_response(kind.whole(prompt, tokens))


def wanted_tokens(body: JsonObject) -> int:
    for key in ("max_completion_tokens", "max_tokens"):
        if isinstance(body.get(key), int):
            return int(body[key])
    return 16


def prompt_tokens(body: bytes) -> int:
    return max(1, len(body) // 4)  # four bytes a token: near enough for a fake


class Engine:
    """What every connection shares: settings, counters and the faults in force."""

    def __init__(self, settings: Settings) -> None:
        self.settings = self.initial = settings
        self.stats = Stats()
        self.faults: dict[str, Behaviour] = {}
        self.random = random.Random(settings.name)
        self.pages: dict[tuple[str, str], Callable[[Request], bytes]] = {
            ("GET", "/health"): lambda _: response(200, b""),
            ("GET", "/version"): lambda _: json_response({"version": "0.32.0+fake"}),
            ("GET", "/v1/models"): self.list_models,
            ("GET", "/metrics"): self.metrics,
            ("GET", "/fake/stats"): lambda _: json_response(vars(self.stats)),
            ("POST", "/fake/behaviour"): self.set_behaviour,
            ("POST", "/fake/pace"): self.set_pace,
            ("POST", "/fake/reset"): self.reset,
            ("POST", "/tokenize"): self.tokenize,
            ("POST", "/v1/embeddings"): self.embed,
        }

    def set_behaviour(self, request: Request) -> bytes:
        behaviour = Behaviour(**json.loads(request.body))
        if behaviour.mode not in MODES:
            return error(400, f"mode must be one of {sorted(MODES)}", "BadRequestError")
        self.faults[behaviour.path] = behaviour
        return json_response(vars(behaviour))

    def set_pace(self, request: Request) -> bytes:
        """Any of Settings' fields, e.g. {"token_rate": 50}."""
        self.settings = replace(self.settings, **json.loads(request.body))
        return json_response(vars(self.settings))

    def reset(self, _: Request) -> bytes:
        """As after the start, but for what is in flight."""
        self.settings, self.faults = self.initial, {}
        now = self.stats
        self.stats = Stats(in_flight=now.in_flight, connections=now.connections)
        return json_response(vars(self.stats))

    def take_fault(self, path: str) -> Behaviour:
        key = "" if path in GENERATION_PATHS and path not in self.faults else path
        fault = self.faults.get(key)
        if fault is None or fault.times == 0:
            return Behaviour()
        if fault.times is not None:
            fault.times -= 1
        fault = self.roll(fault) if fault.mode == "flaky" else fault
        self.stats.played[fault.mode] = self.stats.played.get(fault.mode, 0) + 1
        return fault

    def roll(self, flaky: Behaviour) -> Behaviour:
        at = self.random.random()
        if at < flaky.error_rate:
            return Behaviour("status")
        if at < flaky.error_rate + flaky.hang_rate:
            return Behaviour("hang")
        if at < flaky.error_rate + flaky.hang_rate + flaky.cut_rate:
            return Behaviour("cut_stream", n=1)
        return Behaviour()

    def list_models(self, _: Request) -> bytes:
        cards = [
            {"id": model, "object": "model", "created": CREATED, "owned_by": "vllm",
             "root": model, "parent": None, "max_model_len": 32768}
            for model in self.settings.models
        ]  # fmt: skip
        return json_response({"object": "list", "data": cards})

    def metrics(self, _: Request) -> bytes:
        stats, label = self.stats, f'{{engine="0",model_name="{self.settings.models[0]}"}}'
        series = {
            "num_requests_running": ("gauge", stats.in_flight),
            "num_requests_waiting": ("gauge", 0),
            "kv_cache_usage_perc": ("gauge", min(1.0, stats.in_flight / 256)),
            "prompt_tokens_total": ("counter", stats.prompt_tokens),
            "generation_tokens_total": ("counter", stats.generation_tokens),
            "prefix_cache_queries_total": ("counter", stats.prompt_tokens),
            "prefix_cache_hits_total": ("counter", 0),
        }
        lines = [f"# TYPE vllm:{k} {kind}\nvllm:{k}{label} {v}" for k, (kind, v) in series.items()]
        body = "\n".join(lines).encode() + b"\n"
        return response(200, body, {"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    def tokenize(self, request: Request) -> bytes:
        body = json.loads(request.body)
        words = json.dumps(body.get("prompt") or body.get("messages") or "").split()
        counted = {"count": len(words), "max_model_len": 32768, "tokens": list(range(len(words)))}
        return json_response(counted)

    def embed(self, request: Request) -> bytes:
        body = json.loads(request.body)
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [
            {"object": "embedding", "index": i, "embedding": [1.0, 0.0, 0.0, 0.0]}
            for i in range(len(inputs))
        ]
        counted = usage(prompt_tokens(request.body), 0)
        model = body.get("model") or self.settings.models[0]
        return json_response({"object": "list", "model": model, "data": data, "usage": counted})


class Connection(asyncio.Protocol):
    """One keep-alive connection: reads a request, plays its answer, reads the next."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.busy = False  # a request is being answered; what arrives meanwhile waits
        self.counted = False  # that request is one of those in `in_flight`
        self.writable = True
        self.events: list[bytes] = []
        self.position = 0
        self.waiting = False  # a call to `pump` is already on its way
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.engine.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.stats.connections -= 1
        if self.timer:
            self.timer.cancel()
        if self.counted:
            self.settle("aborted")

    def settle(self, outcome: Literal["completed", "aborted", "faulted"]) -> None:
        stats = self.engine.stats
        setattr(stats, outcome, getattr(stats, outcome) + 1)
        stats.in_flight -= 1
        self.counted = False

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if not self.busy:
            self.read_request()

    def read_request(self) -> None:
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        request = parse_head(head)
        if request is None:
            self.buffer = b""
            self.finish(error(411, "content-length is required", "BadRequestError"))
            return
        length = int(request.headers.get("content-length", 0))
        if len(rest) < length:
            if request.headers.get("expect") == "100-continue" and not rest:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self.buffer = rest[length:]
        self.busy = True
        self.answer(Request(request.method, request.path, request.headers, rest[:length]))

    def answer(self, request: Request) -> None:
        try:
            self.route(request)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            self.finish(error(400, repr(problem), "BadRequestError"))

    def route(self, request: Request) -> None:
        if request.path in GENERATION_PATHS:
            self.begin(request)
        fault = self.engine.take_fault(request.path)
        if self.spoil(fault):
            return
        page = self.engine.pages.get((request.method, request.path))
        if page:
            self.finish(page(request))
        elif request.path not in GENERATION_PATHS or request.method != "POST":
            self.finish(error(404, "Not Found", "NotFoundError"))
        else:
            self.generate(request, fault)

    def begin(self, request: Request) -> None:
        stats = self.engine.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.last = {
            "method": request.method,
            "path": request.path,
            "headers": request.headers,
            "body": request.body.decode(errors="replace"),
        }
        self.counted = True

    def spoil(self, fault: Behaviour) -> bool:
        """Plays the faults that need no body; true when nothing more is to be answered."""
        if fault.mode == "exit":
            os._exit(fault.status if fault.status < 256 else 1)
        if fault.mode == "cut_before_first_byte":
            self.cut()
        elif fault.mode == "out_of_memory":
            self.finish(error(500, NO_MEMORY, "InternalServerError"))
        elif fault.mode == "status":
            body = {"error": {"message": "a fake fault", "type": "FakeError", "code": fault.status}}
            self.finish(json_response(fault.body or body, fault.status, fault.headers))
        return fault.mode in {"hang", "cut_before_first_byte", "out_of_memory", "status"}

    def generate(self, request: Request, fault: Behaviour) -> None:
        body = json.loads(request.body)
        settings = self.engine.settings
        model = body.get("model") or settings.models[0]
        if model not in settings.models:
            message = f"The model `{model}` does not exist."
            self.finish(error(404, message, "NotFoundError"))
            return
        kind = answers(request.path, model, settings.name)
        prompt, tokens = prompt_tokens(request.body), wanted_tokens(body)
        if fault.mode == "context_too_long" and prompt > fault.n:
            self.finish(error(400, TOO_LONG.format(limit=fault.n, prompt=prompt), BAD_REQUEST))
            return
        self.engine.stats.prompt_tokens += prompt
        self.engine.stats.generation_tokens += tokens
        delay_s = settings.first_token_delay_s
        if fault.mode == "slow_first_token":
            delay_s += fault.seconds
        if body.get("stream"):
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            play = script(kind, prompt, tokens, with_usage)
            if before := re.search(r"t(\d+)( ?)$", said_before(body)):
                lead = "" if before[2] else " "
                play = continuation(kind, prompt, tokens, with_usage, int(before[1]) + 1, lead)
            self.stream(spoiled(play, fault), delay_s)
            return
        duration_s = tokens / settings.token_rate if settings.token_rate else 0.0
        self.later(delay_s + duration_s, lambda: self.send(whole(kind, prompt, tokens), fault))

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        if delay_s > 0:
            self.timer = self.loop.call_later(delay_s, call)
        else:
            call()

    def send(self, answer: bytes, fault: Behaviour) -> None:
        if fault.mode.startswith("error_event"):
            self.finish(json_response(DEAD_ENGINE, 500))
        elif fault.mode in {"cut_stream", "cut_after_headers", "stall_after"}:
            self.transport.write(answer[: answer.index(b"\r\n\r\n") + 5])
            if fault.mode != "stall_after":
                self.cut()
        else:
            self.finish(answer)

    def stream(self, play: Script, delay_s: float) -> None:
        self.transport.write(SSE_HEADERS)
        self.play, self.events, self.position = play, play.events(), 0
        self.later(delay_s, self.start)

    def start(self) -> None:
        self.started_s = self.loop.time()
        self.pump()

    def pump(self) -> None:
        """Writes what is due, one write an event, until the client does not keep up."""
        self.waiting = False
        events, at, write = self.events, self.position, self.transport.write
        rate = self.engine.settings.token_rate
        due = self.due(rate) if rate else min(at + self.engine.settings.burst, len(events))
        while at < due and self.writable:
            write(events[at])
            at += 1
        self.position = at
        if at == len(events):
            self.close_stream()
        elif self.writable and not self.transport.is_closing():
            self.wait(rate)

    def due(self, rate: float) -> int:
        tokens = 1 + int((self.loop.time() - self.started_s) * rate + 1e-6)
        if tokens >= len(self.play.tokens):
            return len(self.events)
        return len(self.play.preamble) + tokens

    def wait(self, rate: float) -> None:
        self.waiting = True
        if not rate:
            self.loop.call_soon(self.pump)
            return
        tokens = self.position - len(self.play.preamble)
        self.timer = self.loop.call_at(self.started_s + tokens / rate, self.pump)

    def close_stream(self) -> None:
        if self.play.end == "complete":
            self.finish(LAST_CHUNK)
        elif self.play.end == "close":
            self.cut()

    def finish(self, last: bytes) -> None:
        self.transport.write(last)
        self.events = []
        if self.counted:
            self.settle("completed")
        self.busy = False
        if self.buffer:
            self.loop.call_soon(self.read_request)

    def cut(self) -> None:
        if self.counted:
            self.settle("faulted")
        self.events = []
        self.transport.close()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.events and not self.waiting:
            self.pump()


def parse_head(head: bytes) -> Request | None:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        key, _, value = line.partition(":")
        headers[key.lower()] = value.strip()
    if "transfer-encoding" in headers:
        return None
    return Request(method, target.partition("?")[0], headers, b"")


def spoiled(good: Script, fault: Behaviour) -> Script:
    kept = good.tokens[: fault.n]
    match fault.mode:
        case "cut_after_headers":
            return Script([], [], [], "close")
        case "cut_stream":
            return Script(good.preamble, kept, [], "close")
        case "stall_after":
            return Script(good.preamble, kept, [], "stall")
        case "error_event_first":
            return Script([], [], good.dead)
        case "error_event_after":
            return Script(good.preamble, kept, good.dead)
    return good


class ParentWatch(asyncio.Protocol):
    def connection_lost(self, exc: Exception | None) -> None:
        os._exit(0)


async def serve(settings: Settings, host: str, port: int, watch_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    engine = Engine(settings)
    server = await loop.create_server(lambda: Connection(engine), host, port, backlog=1024)
    if watch_stdin:
        await loop.connect_read_pipe(ParentWatch, sys.stdin)
    bound = server.sockets[0].getsockname()
    print(f"ready http://{host}:{bound[1]}", flush=True)
    await server.serve_forever()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", help="repeatable; default: fake")
    parser.add_argument("--name", default="fake", help="sent as system_fingerprint")
    parser.add_argument("--token-rate", type=float, default=0.0, help="tokens/s; 0: no limit")
    parser.add_argument("--first-token-delay", type=float, default=0.0, help="seconds")
    parser.add_argument("--burst", type=int, default=8, help="tokens a turn when not rated")
    parser.add_argument("--exit-with-stdin", action="store_true", help="exit when stdin closes")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    models = tuple(args.model or ["fake"])
    settings = Settings(models, args.name, args.token_rate, args.first_token_delay, args.burst)
    work = serve(settings, args.host, args.port, args.exit_with_stdin)
    try:
        import uvloop
    except ImportError:
        runner = asyncio.run
    else:
        runner = uvloop.run
    try:
        runner(work)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
