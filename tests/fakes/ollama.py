"""An Ollama server as its API is documented, without models: a program that speaks its HTTP.

    python tests/fakes/ollama.py --port 0 --model llama3.2:latest --model nomic-embed-text:latest

It prints `ready URL`. Names are matched as Ollama matches them; a model is loaded by its first
request and unloaded by its own clock. `/fake/...` are controls of the test:
`GET /fake/stats`, and `POST /fake/set` with any of CONTROLS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
NS = 1_000_000_000
FOREVER_S = (2**63 - 1) / NS
DEFAULT_KEEP_S = 300.0
CONTEXT_LOADED = 4096
_GO = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
CONTROLS = ("models", "pullable", "fail_pull", "fail_load", "size", "step_s", "num_ctx", "version")
# By a part of the name: family, parameter size, parameters, trained context, capabilities.
KINDS: dict[str, tuple[str, str, int, int, list[str]]] = {
    "embed": ("nomic-bert", "137M", 136_727_040, 2048, ["embedding"]),
    "vision": ("mllama", "9.8B", 9_775_192_064, 131072, ["completion", "vision"]),
    "": ("llama", "3.2B", 3_212_749_888, 131072, ["completion", "tools"]),
}


class RefusalError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def full(name: str) -> str:
    name = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def kind(name: str) -> tuple[str, str, int, int, list[str]]:
    return next(value for part, value in KINDS.items() if part in name)


def seconds(keep_alive: Any) -> float:
    """As Go's time.ParseDuration for strings, seconds for numbers, negative for ever."""
    if isinstance(keep_alive, str):
        sign = -1 if keep_alive.startswith("-") else 1
        text = keep_alive.lstrip("+-")
        parts = re.findall(r"(\d+(?:\.\d*)?)(ns|us|ms|s|m|h)", text)
        if text != "0" and "".join(n + unit for n, unit in parts) != text:
            raise RefusalError(400, f'time: invalid duration "{keep_alive}"')
        total = sign * sum(float(n) * _GO[unit] for n, unit in parts)
    else:
        total = float(keep_alive)
    return FOREVER_S if total < 0 else total


def stamp(at_s: float) -> str:
    """RFC 3339 with nanoseconds, as Go writes it; good for the year 2318."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at_s)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}000+00:00"


@dataclass
class Loaded:
    keep_s: float
    until: float = 0.0


@dataclass
class Box:
    """What the server has on its disk and in its memory."""

    models: list[str]
    pullable: list[str] = field(default_factory=list)
    fail_pull: str = ""
    fail_load: str = ""
    size: int = 2_000_000_000
    step_s: float = 0.0
    num_ctx: int = 0
    version: str = "0.12.6"
    loaded: dict[str, Loaded] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    last: Json = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def expire(self) -> None:
        now = time.time()
        for name, each in list(self.loaded.items()):
            if each.until <= now:
                del self.loaded[name]

    def existing(self, name: str) -> str:
        found = next((each for each in self.models if full(each) == full(name)), None)
        if found is None:
            raise RefusalError(404, f"model '{name}' not found")
        return found

    def load(self, name: str, keep_alive: Any) -> Loaded:
        """A loaded model keeps its time unless the request gives another."""
        self.expire()
        if self.fail_load:
            raise RefusalError(500, self.fail_load)
        each = self.loaded.setdefault(name, Loaded(DEFAULT_KEEP_S))
        if keep_alive is not None:
            each.keep_s = seconds(keep_alive)
        each.until = time.time() + each.keep_s
        return each


def details(name: str) -> Json:
    family, size, *_ = kind(name)
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": size,
        "quantization_level": "Q4_K_M",
    }


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    box: Box

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.handle_one("HEAD")

    def do_GET(self) -> None:
        self.handle_one("GET")

    def do_POST(self) -> None:
        self.handle_one("POST")

    def do_DELETE(self) -> None:
        self.handle_one("DELETE")

    def handle_one(self, method: str) -> None:
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        with self.box.lock:
            self.box.calls[path] = self.box.calls.get(path, 0) + 1
            self.box.expire()
        route = ROUTES.get((method, path))
        try:
            body = json.loads(text) if text else {}
            if route is None:
                return self.plain(404, "404 page not found")
            if path.startswith("/v1/") and method == "POST":
                self.box.last = {"path": path, "body": body, "headers": dict(self.headers)}
            route(self, body)
        except RefusalError as refusal:
            self.answer(self.shaped(path, refusal), refusal.status)
        except ValueError as error:
            self.answer({"error": str(error)}, 400)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def shaped(self, path: str, refusal: RefusalError) -> Json:
        """Each surface has its own error object."""
        kind_of = "not_found_error" if refusal.status == 404 else "invalid_request_error"
        if path == "/v1/messages":
            return {"type": "error", "error": {"type": kind_of, "message": str(refusal)}}
        if path.startswith("/v1/"):
            error = {"message": str(refusal), "type": kind_of, "param": None, "code": None}
            return {"error": error}
        return {"error": str(refusal)}

    def plain(self, status: int, text: str) -> None:
        self.whole(status, "text/plain; charset=utf-8", text.encode())

    def answer(self, value: Any, status: int = 200) -> None:
        self.whole(status, "application/json; charset=utf-8", json.dumps(value).encode())

    def whole(self, status: int, kind_of: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind_of)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, kind_of: str, parts: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", kind_of)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def ndjson(self, lines: Iterable[Json]) -> None:
        self.stream("application/x-ndjson", (json.dumps(each).encode() + b"\n" for each in lines))

    # Ollama's own API.

    def root(self, _: Json) -> None:
        self.plain(200, "Ollama is running")

    def get_version(self, _: Json) -> None:
        self.answer({"version": self.box.version})

    def tags(self, _: Json) -> None:
        self.answer({"models": [self.tag(name) for name in self.box.models]})

    def tag(self, name: str) -> Json:
        cloud = {"remote_model": name, "remote_host": "https://ollama.com:443"}
        return (cloud if name.endswith("-cloud") else {}) | {
            "name": name,
            "model": name,
            "modified_at": "2026-05-04T17:37:44.706015396-07:00",
            "size": self.box.size,
            "digest": digest(name),
            "details": details(name),
        }

    def show(self, body: Json) -> None:
        name = self.box.existing(body.get("model") or body.get("name") or "")
        family, _, count, context, capabilities = kind(name)
        parameters = 'stop                           "<|eot_id|>"'
        if self.box.num_ctx:
            parameters += f"\nnum_ctx                        {self.box.num_ctx}"
        self.answer(
            {
                "modelfile": f"FROM {name}",
                "parameters": parameters,
                "template": "{{ .Prompt }}",
                "details": details(name),
                "model_info": {
                    "general.architecture": family,
                    "general.parameter_count": count,
                    f"{family}.context_length": context,
                    f"{family}.embedding_length": 3072,
                },
                "capabilities": capabilities,
                "modified_at": "2026-05-04T17:37:44.706015396-07:00",
            }
        )

    def ps(self, _: Json) -> None:
        with self.box.lock:
            rows = [self.process(name, each) for name, each in self.box.loaded.items()]
        self.answer({"models": rows})

    def process(self, name: str, each: Loaded) -> Json:
        row = {key: value for key, value in self.tag(name).items() if key != "modified_at"}
        context = self.box.num_ctx or CONTEXT_LOADED
        until = stamp(each.until)
        return row | {"expires_at": until, "size_vram": self.box.size, "context_length": context}

    def generate(self, body: Json) -> None:
        name = self.box.existing(body.get("model", ""))
        keep_alive = body.get("keep_alive")
        if not body.get("prompt") and keep_alive is not None and seconds(keep_alive) == 0:
            with self.box.lock:
                self.box.loaded.pop(name, None)
            return self.answer(self.frame(body["model"], response="", done_reason="unload"))
        if "completion" not in kind(name)[4]:
            raise RefusalError(400, f'"{body["model"]}" does not support generate')
        self.box.load(name, keep_alive)
        if not body.get("prompt"):
            return self.answer(self.frame(body["model"], response="", done_reason="load"))
        return self.say(body, lambda word: {"response": word})

    def chat(self, body: Json) -> None:
        name = self.box.existing(body.get("model", ""))
        empty = {"message": {"role": "assistant", "content": ""}}
        keep_alive = body.get("keep_alive")
        if not body.get("messages") and keep_alive is not None and seconds(keep_alive) == 0:
            with self.box.lock:
                self.box.loaded.pop(name, None)
            return self.answer(self.frame(body["model"], **empty, done_reason="unload"))
        self.box.load(name, keep_alive)
        if not body.get("messages"):
            return self.answer(self.frame(body["model"], **empty, done_reason="load"))
        return self.say(body, lambda word: {"message": {"role": "assistant", "content": word}})

    def say(self, body: Json, shape: Any) -> None:
        """`stream` is true unless the request says otherwise."""
        model, timings = body["model"], self.timings()
        if body.get("stream") is False:
            said = self.frame(model, **shape("one two three"), done_reason="stop", **timings)
            return self.answer(said)
        lines = [self.frame(model, done=False, **shape(word)) for word in ("one ", "two ", "three")]
        return self.ndjson([*lines, self.frame(model, **shape(""), done_reason="stop", **timings)])

    def frame(self, model: str, *, done: bool = True, **more: Any) -> Json:
        return {"model": model, "created_at": stamp(time.time()), "done": done, **more}

    def timings(self) -> Json:
        return {
            "total_duration": 2 * NS,
            "load_duration": NS // 2,
            "prompt_eval_count": 11,
            "prompt_eval_duration": NS // 4,
            "eval_count": 3,
            "eval_duration": NS,
        }

    def embed(self, body: Json) -> None:
        name = self.box.existing(body.get("model", ""))
        self.box.load(name, body.get("keep_alive"))
        given = body.get("input", [])
        inputs = [given] if isinstance(given, str) else given
        vectors = [[0.6, 0.8, 0.0] for _ in inputs]
        self.answer({"model": body["model"], "embeddings": vectors, "total_duration": NS})

    def pull(self, body: Json) -> None:
        name = body.get("model") or body.get("name") or ""
        lines = self.pulling(full(name))
        if body.get("stream") is False:
            *_, last = lines
            return self.answer(last, 500 if "error" in last else 200)
        return self.ndjson(lines)

    def pulling(self, name: str) -> Iterable[Json]:
        box = self.box
        yield {"status": "pulling manifest"}
        if name not in map(full, (*box.pullable, *box.models)):
            yield {"error": "pull model manifest: file does not exist"}
            return
        for layer, total in (("weights", box.size), ("params", 96)):
            name_of = f"sha256:{digest(name + layer)}"
            row = {"status": f"pulling {name_of[7:19]}", "digest": name_of, "total": total}
            yield row
            for tenth in range(1, 11):
                time.sleep(box.step_s)
                if box.fail_pull and tenth == 5:
                    yield {"error": box.fail_pull}
                    return
                yield row | {"completed": total * tenth // 10}
        for status in ("verifying sha256 digest", "writing manifest"):
            yield {"status": status}
        with box.lock:
            if name not in map(full, box.models):
                box.models.append(name)
        yield {"status": "success"}

    def delete(self, body: Json) -> None:
        name = self.box.existing(body.get("model") or body.get("name") or "")
        with self.box.lock:
            self.box.models.remove(name)
            self.box.loaded.pop(name, None)
            self.box.deleted.append(name)
        self.whole(200, "text/plain", b"")

    # OpenAI's and Anthropic's routes, which take no keep_alive.

    def v1_models(self, _: Json) -> None:
        rows = [
            {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "library"}
            for name in self.box.models
        ]
        self.answer({"object": "list", "data": rows})

    def completes(self, body: Json) -> str:
        name = self.box.existing(body.get("model", ""))
        if "completion" not in kind(name)[4]:
            raise RefusalError(400, f'"{body["model"]}" does not support chat')
        self.box.load(name, None)
        return str(body["model"])

    def v1_chat(self, body: Json) -> None:
        model, usage = self.completes(body), openai_usage()
        head = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": model}
        head["system_fingerprint"] = "fp_ollama"
        if not body.get("stream"):
            message = {"role": "assistant", "content": "one two three"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self.answer(
                head | {"object": "chat.completion", "choices": [choice], "usage": usage}
            )
        frames = [
            {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            for word in ("one ", "two ", "three")
        ]
        frames.append({"index": 0, "delta": {"content": ""}, "finish_reason": "stop"})
        events = [head | {"object": "chat.completion.chunk", "choices": [f]} for f in frames]
        if (body.get("stream_options") or {}).get("include_usage"):
            last = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
            events.append(head | last)
        return self.stream("text/event-stream", sse(events))

    def v1_completions(self, body: Json) -> None:
        model = self.completes(body)
        head = {"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000}
        head |= {"model": model, "system_fingerprint": "fp_ollama"}
        if not body.get("stream"):
            choice = {"index": 0, "text": "one two three", "finish_reason": "stop"}
            return self.answer(head | {"choices": [choice], "usage": openai_usage()})
        frames = [
            {"index": 0, "text": word, "finish_reason": end}
            for word, end in (("one ", None), ("two ", None), ("three", None), ("", "stop"))
        ]
        return self.stream("text/event-stream", sse([head | {"choices": [f]} for f in frames]))

    def v1_embeddings(self, body: Json) -> None:
        self.box.load(self.box.existing(body.get("model", "")), None)
        given = body.get("input", [])
        inputs = [given] if isinstance(given, str) else given
        rows = [
            {"object": "embedding", "index": i, "embedding": [0.6, 0.8, 0.0]}
            for i, _ in enumerate(inputs)
        ]
        counted = {"prompt_tokens": 4 * len(rows), "total_tokens": 4 * len(rows)}
        self.answer({"object": "list", "data": rows, "model": body["model"], "usage": counted})

    def v1_responses(self, body: Json) -> None:
        model = self.completes(body)
        text = {"type": "output_text", "text": "one two three", "annotations": []}
        message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
        self.answer(
            {
                "id": "resp_1",
                "object": "response",
                "created_at": 1_700_000_000,
                "status": "completed",
                "model": model,
                "output": [message | {"content": [text]}],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
                "usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14},
            }
        )

    def v1_messages(self, body: Json) -> None:
        model = self.completes(body)
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
        usage = {"input_tokens": 11, "output_tokens": 3}
        if not body.get("stream"):
            content = [{"type": "text", "text": "one two three"}]
            return self.answer(
                head | {"content": content, "stop_reason": "end_turn"} | {"usage": usage}
            )
        events: list[Json] = [
            {"type": "message_start", "message": head | {"content": [], "usage": usage}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
        ]
        for word in ("one ", "two ", "three"):
            delta = {"type": "text_delta", "text": word}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
        events.append({"type": "content_block_stop", "index": 0})
        events.append(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
        )
        events.append({"type": "message_stop"})
        return self.stream("text/event-stream", named(events))

    # The test's controls.

    def fake_stats(self, _: Json) -> None:
        box = self.box
        self.answer(
            {
                "calls": box.calls,
                "deleted": box.deleted,
                "models": box.models,
                "loaded": {name: each.keep_s for name, each in box.loaded.items()},
                "last": box.last,
            }
        )

    def fake_set(self, body: Json) -> None:
        for key, value in body.items():
            if key not in CONTROLS:
                raise RefusalError(400, f"no control {key!r}")
            setattr(self.box, key, value)
        self.answer({})


def openai_usage() -> Json:
    return {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}


def sse(events: Iterable[Json]) -> Iterable[bytes]:
    for event in events:
        yield f"data: {json.dumps(event)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def named(events: Iterable[Json]) -> Iterable[bytes]:
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


ROUTES = {
    ("HEAD", "/"): Handler.root,
    ("GET", "/"): Handler.root,
    ("GET", "/api/version"): Handler.get_version,
    ("GET", "/api/tags"): Handler.tags,
    ("GET", "/api/ps"): Handler.ps,
    ("POST", "/api/show"): Handler.show,
    ("POST", "/api/generate"): Handler.generate,
    ("POST", "/api/chat"): Handler.chat,
    ("POST", "/api/embed"): Handler.embed,
    ("POST", "/api/pull"): Handler.pull,
    ("DELETE", "/api/delete"): Handler.delete,
    ("GET", "/v1/models"): Handler.v1_models,
    ("POST", "/v1/chat/completions"): Handler.v1_chat,
    ("POST", "/v1/completions"): Handler.v1_completions,
    ("POST", "/v1/embeddings"): Handler.v1_embeddings,
    ("POST", "/v1/responses"): Handler.v1_responses,
    ("POST", "/v1/messages"): Handler.v1_messages,
    ("GET", "/fake/stats"): Handler.fake_stats,
    ("POST", "/fake/set"): Handler.fake_set,
}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def leave_with_stdin() -> None:
    """The program ends with whoever started it."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--exit-with-stdin", action="store_true")
    args = parser.parse_args()
    Handler.box = Box([full(name) for name in args.model])
    server = Server(("127.0.0.1", args.port), Handler)
    if args.exit_with_stdin:
        threading.Thread(target=leave_with_stdin, daemon=True).start()
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
