"""Plays mlx_lm.server, with the names of its classes. The model's file `mode` says how it acts.

An answer holds the mode, the command line, and as many tokens as the prompt has words.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class LRUPromptCache:
    def __init__(self, max_size: int) -> None:
        self.max_size = max_size

    def trim_to(self, n_bytes: int) -> None:
        pass


class ModelProvider:
    def __init__(self, cli_args: argparse.Namespace) -> None:
        self.cli_args = cli_args
        self.model: str | None = None
        self.model_key: tuple[str, ...] | None = None

    def load_default(self) -> None:
        self.load("default_model", None, "default_model")

    def load(self, model_path: str, adapter_path: Any = None, draft: Any = None) -> Any:
        mode = (Path(self.cli_args.model) / "mode").read_text()
        if mode == "refuses":
            raise ValueError("Model type nonesuch not supported.")
        if mode == "no room":
            raise RuntimeError("[metal::malloc] Attempting to allocate 99 bytes")
        if mode == "never ends":
            time.sleep(60)
        self.model, self.model_key = mode, (model_path,)
        return mode, None


class ResponseGenerator:
    def __init__(self, model_provider: Any, prompt_cache: LRUPromptCache) -> None:
        self.model_provider, self.prompt_cache = model_provider, prompt_cache
        self.cli_args = model_provider.cli_args
        self._generation_thread = threading.Thread(target=self._run_generate, daemon=True)
        self._generation_thread.start()

    def _run_generate(self) -> None:
        try:
            self._generate()
        except Exception as error:  # noqa: BLE001  # as it does
            print(f"generation thread died: {error}", file=sys.stderr)

    def _generate(self) -> None:
        self.model_provider.load_default()
        while self.model_provider.model != "dies":
            time.sleep(0.05)
        time.sleep(0.5)
        raise RuntimeError("Insufficient Memory")

    @property
    def is_healthy(self) -> bool:
        return self._generation_thread.is_alive()

    def _tokenize(self, tokenizer: Any, request: Any, args: Any) -> Any:
        return request.split(), [], [], "normal", None

    def generate(
        self, request: Any, args: Any, progress_callback: Callable[[int, int], None]
    ) -> tuple[Any, Iterator[str]]:
        prompt = self._tokenize(None, request, args)[0]
        if prompt == ["breaks"]:
            raise KeyError("role")
        context = SimpleNamespace(prompt=prompt, prompt_cache_count=0)
        return context, iter(prompt[: args.max_tokens])


class APIHandler(BaseHTTPRequestHandler):
    def __init__(self, response_generator: Any, *args: Any, **kwargs: Any) -> None:
        self.response_generator = response_generator
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        if self.response_generator.model_provider.model == "freezes":
            time.sleep(60)
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requested_model = self.body.get("model", "default_model")
        self.max_tokens = self.body.get("max_tokens", self.response_generator.cli_args.max_tokens)
        self.validate_model_parameters()
        prompt = self.body.get("prompt") or self.body["messages"][-1]["content"]
        self.handle_completion(prompt, [])

    def validate_model_parameters(self) -> None:
        if not isinstance(self.max_tokens, int):
            raise ValueError("max_tokens must be of type int")

    def handle_completion(self, request: Any, stop_words: list[str]) -> None:
        args = SimpleNamespace(max_tokens=self.max_tokens)
        try:
            _, tokens = self.response_generator.generate(request, args, lambda done, total: None)
        except Exception as error:  # noqa: BLE001  # as it does
            self.send_response(404)
            self.end_headers()
            self.wfile.write(json.dumps({"error": str(error)}).encode())
            return
        told = {
            "model": self.requested_model,
            "text": " ".join(tokens),
            "arguments": vars(self.response_generator.cli_args),
            "device": os.environ.get("FAKE_DEVICE"),
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())


def run(host: str, port: int, model_provider: ModelProvider) -> None:
    raise AssertionError("it would listen with no token")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("model", "host", "log-level"):
        parser.add_argument(f"--{name}", default="127.0.0.1")
    for name in ("decode-concurrency", "prompt-cache-bytes", "max-tokens", "prefill-step-size"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--prompt-cache-size", type=int, default=10)
    args = parser.parse_args()
    run(args.host, 8080, ModelProvider(args))


if os.environ.get("FAKE_OLD"):
    del ResponseGenerator._tokenize
