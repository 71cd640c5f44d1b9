"""What stands in front of mlx_lm.server's request handler: a token, its limits, and its errors.

A mixin: mlx_server.py puts it before the handler's own class, so that this file imports no MLX.
"""

from __future__ import annotations

import hmac
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from engines.mlx_request import ROUTES, Refused, prepared


class HungUpError(ConnectionError):
    """Nobody waits for this answer any more."""


class TooLongError(ValueError):
    """A prompt that leaves no room for an answer in the context."""


class Counts:
    """Prompt tokens that were found in the prompt cache, those that had to be computed, and the
    requests that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cached = self._fresh = self._running = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def add(self, n_tokens: int, n_cached: int) -> None:
        with self._lock:
            self._cached += max(0, n_cached)
            self._fresh += n_tokens - max(0, n_cached)

    def in_prometheus_format(self) -> str:
        rows = (
            ("prompt_tokens_cached_total", "counter", "Found in the prompt cache.", self._cached),
            ("prompt_tokens_total", "counter", "Prompt tokens that were computed.", self._fresh),
            ("requests_running", "gauge", "Requests under way.", self._running),
        )
        return "".join(
            f"# HELP mlx:{name} {told}\n# TYPE mlx:{name} {kind}\nmlx:{name} {count}\n"
            for name, kind, told, count in rows
        )


class Guard(BaseHTTPRequestHandler):
    """`token`, `served_name` and `counts` are set on the class that is made of it."""

    disable_nagle_algorithm = True  # a token is a small packet, and waits for nothing
    token = ""
    served_name = ""
    counts = Counts()
    response_generator: Any

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, how: Callable[[], None]) -> None:
        try:
            how()
        except Refused as refused:
            self._tell(refused.status, "application/json", refused.body())
        except ConnectionError:
            self.close_connection = True  # the client has gone

    def _get(self) -> None:
        if self.path == "/health":
            super().do_GET()  # type: ignore[misc]  # the handler's, which comes after this
            return
        self._check_token()
        if self.path != "/metrics":
            raise Refused(501, f"engine mlx has no route GET {self.path}")
        self._tell(200, "text/plain; version=0.0.4", self.counts.in_prometheus_format().encode())

    def _post(self) -> None:
        self._check_token()
        if self.path not in ROUTES:
            raise Refused(
                501, f"engine mlx has no route {self.path}; it has {' and '.join(ROUTES)}"
            )
        body = prepared(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.rfile = io.BytesIO(body)
        del self.headers["Content-Length"]
        self.headers["Content-Length"] = str(len(body))
        super().do_POST()  # type: ignore[misc]

    def _check_token(self) -> None:
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self.token.encode()):
            raise Refused(401, "wrong token", "invalid_api_key")

    def _tell(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # What the handler calls.

    def validate_model_parameters(self) -> None:
        try:
            super().validate_model_parameters()  # type: ignore[misc]
        except ValueError as error:
            raise Refused(400, str(error)) from None
        self.requested_model = self.served_name  # one name, so that all requests share a batch

    def handle_completion(self, request: Any, stop_words: list[str]) -> None:
        own = self.response_generator
        self.response_generator = _Call(own, self.connection, self.counts)
        try:
            with self.counts.one_more():
                super().handle_completion(request, stop_words)  # type: ignore[misc]
        finally:
            self.response_generator = own

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not a line a request."""

    def _set_cors_headers(self) -> None:
        """None: by default it lets every page that a browser shows read the answers."""


class _Call:
    """The generator of answers, for one request: it ends with the client."""

    def __init__(self, generator: Any, connection: socket.socket, counts: Counts) -> None:
        self._generator, self._connection, self._counts = generator, connection, counts
        self.cli_args = generator.cli_args

    def generate(
        self, request: Any, arguments: Any, progress_callback: Callable[[int, int], None]
    ) -> tuple[Any, Iterator[Any]]:
        """Raises Refused; what it raises else, the handler answers with a 404.

        `progress_callback` would write a comment into a stream, and so begin an answer before there
        is one: a failure in between could not move to another replica any more.
        """
        try:
            context, tokens = self._generator.generate(request, arguments, self._on_progress)
        except TooLongError as error:
            raise Refused(400, str(error), "context_length_exceeded") from None
        except RuntimeError as error:
            raise Refused(500, str(error)) from None
        except Exception as error:  # noqa: BLE001  # such as a template's, of these messages
            raise Refused(400, f"{type(error).__name__}: {error}") from None
        return context, self._while_heard(context, tokens)

    def _on_progress(self, done: int, total: int) -> None:
        self._check_client()

    def _while_heard(self, context: Any, tokens: Iterator[Any]) -> Iterator[Any]:
        counted = False
        for token in tokens:
            if not counted:
                self._counts.add(len(context.prompt), context.prompt_cache_count)
                counted = True
            self._check_client()
            yield token

    def _check_client(self) -> None:
        """A whole answer is written once, at its end; till then only a look tells of the client."""
        try:
            gone = not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if gone:
            raise HungUpError
