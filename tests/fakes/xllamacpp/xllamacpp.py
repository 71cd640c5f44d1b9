"""Plays the package of that name: a folder to put on PYTHONPATH. The model's file says how it acts.

What follows GGUF in the file is the mode; the parameters that it was given are at /given.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class CommonParams:
    def __init__(self) -> None:
        self.model = SimpleNamespace(path="")
        self.cpuparams = SimpleNamespace(n_threads=-1)
        self.cpuparams_batch = SimpleNamespace(n_threads=-1)
        self.model_alias: set[str] = set()
        self.api_keys: list[str] = []
        self.hostnames, self.port, self.n_ctx, self.n_parallel = ["127.0.0.1"], 8080, 0, 1
        self.n_gpu_layers, self.n_threads_http, self.cache_ram_mib = -1, -1, 8192
        self.n_batch = 2048
        self.kv_unified, self.fit_params = False, True
        self.endpoint_metrics, self.endpoint_slots, self.ui = False, True, True


def get_device_info() -> list[dict[str, Any]]:
    return [{"name": "CPU"}] + ([{"name": "CUDA0"}] if "FAKE_CUDA" in os.environ else [])


class Server:
    def __init__(self, params: CommonParams) -> None:
        mode = Path(params.model.path).read_bytes()[4:].decode()
        if mode == "refuses":
            print("llama_model_load: error loading model: unknown tensor type 77", file=sys.stderr)
            raise RuntimeError("Failed to init server, please check the input params.")
        if mode == "no room":
            print("ggml_backend_alloc: failed to allocate CPU buffer", file=sys.stderr)
            raise RuntimeError("Failed to init server, please check the input params.")
        if mode == "crashes":
            os.abort()
        if mode == "never ends":
            time.sleep(60)
        given = {name: sorted(v) if isinstance(v, set) else v for name, v in vars(params).items()}
        text = json.dumps({**given, "model": vars(params.model)}, default=vars)
        context = params.n_ctx // params.n_parallel // (2 if mode == "shrinks" else 1)
        handler = _handler(text, context, params.api_keys, mode)
        server = ThreadingHTTPServer((params.hostnames[0], params.port), handler)
        self.listening_address = f"http://{params.hostnames[0]}:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if mode == "dies":
            threading.Timer(0.5, os.abort).start()


def _handler(given: str, context: int, keys: list[str], mode: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if mode == "freezes" and self.path == "/health":
                time.sleep(60)
            own = self.headers.get("Authorization", "").removeprefix("Bearer ")
            allowed = self.path == "/health" or not keys or own in keys
            props = {"default_generation_settings": {"n_ctx": context}}
            body = given if self.path == "/given" else json.dumps(props)
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(body.encode() if allowed else b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as its base has it
            pass

    return Handler
