"""mlx_lm.server in a process of its own: `python -m engines.mlx_server`.

Its own command line, model loading and batching; in front of its handler stands mlx_handler.py.
The one file that knows its classes. Written for mlx-lm 0.32, whose names are checked at the start.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

from common.errors import StartError
from engines import child_server
from engines.mlx_handler import Counts, Guard, TooLongError

_NAMES = {
    "ModelProvider": ("load", "load_default"),
    "ResponseGenerator": ("_run_generate", "_tokenize", "generate"),
    "APIHandler": ("do_POST", "handle_completion", "validate_model_parameters"),
    "LRUPromptCache": ("trim_to",),
}
# What MLX keeps of freed memory for itself; by default as much as the GPU may have.
_FREED_BYTES = 512 << 20
_BACKLOG = 256  # connections that wait to be accepted; 5 by default


class _Listener(ThreadingHTTPServer):
    request_queue_size = _BACKLOG


class Loading:
    """How the generation thread tells that it has the weights, or why not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._over = threading.Event()

    def done(self, error: Exception | None = None) -> None:
        self.error = error
        self._over.set()

    def wait(self) -> None:
        """Raises what loading has raised."""
        self._over.wait()
        if self.error is not None:
            raise self.error


def main() -> None:
    child_server.run(_start)


def _start(asked: dict[str, Any]) -> tuple[str, object]:
    import mlx.core as mx
    from mlx_lm import server

    check_names(server)
    device = mx.cpu if asked["on_cpu"] else mx.gpu
    if not asked["on_cpu"] and not mx.is_available(mx.gpu):
        raise StartError(
            "this MLX was built without GPU support, and the plan puts the model on a GPU; "
            "install a build for it (docs/engines.md), or set gpu.devices: [] to use the CPU"
        )
    mx.set_cache_limit(_FREED_BYTES)
    options = parsed(server, asked["arguments"])
    loading = Loading()
    provider = _provider(server, options, loading)
    generator = _generator(server, provider, asked["context_tokens"], partial(_use, mx, device))
    loading.wait()
    handler = _handler(server, asked["token"], asked["served_name"])
    httpd = _Listener(("127.0.0.1", 0), partial(handler, generator))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{httpd.server_port}", httpd


def check_names(server: Any) -> None:
    """Raises StartError for an mlx-lm that this was not written for."""
    for owner, names in _NAMES.items():
        for name in names:
            if not hasattr(getattr(server, owner, None), name):
                raise StartError(
                    f"this mlx-lm has no {owner}.{name}; install mlx-lm 0.32 "
                    "(`make setup ENGINE=mlx`)"
                )


def parsed(server: Any, arguments: list[str]) -> Any:
    """As its own main reads them, defaults included. Raises StartError for what it refuses."""
    found: list[Any] = []
    server.ModelProvider, own = (lambda args: args), server.ModelProvider
    server.run, run = (lambda host, port, args: found.append(args)), server.run
    sys.argv = ["mlx_lm.server", *arguments]
    try:
        server.main()
    except SystemExit:
        raise StartError("mlx_lm.server refused its arguments") from None
    finally:
        server.ModelProvider, server.run = own, run
    return found[0]


def _use(mx: Any, device: Any) -> None:
    mx.set_default_device(device)


def _provider(server: Any, options: Any, loading: Loading) -> Any:
    class Provider(server.ModelProvider):  # type: ignore[misc]
        def load_default(self) -> None:
            try:
                super().load_default()
            except Exception as error:
                loading.done(error)
                raise
            loading.done()

        def load(self, *_: Any) -> Any:
            """No request loads another model."""
            return super().load("default_model", None, "default_model")

    return Provider(options)


def _generator(server: Any, provider: Any, context_tokens: int, prepare: Any) -> Any:
    options = provider.cli_args

    class Generator(server.ResponseGenerator):  # type: ignore[misc]
        def _run_generate(self) -> None:
            prepare()  # a thread has a default device of its own
            super()._run_generate()
            if provider.model is not None or provider.model_key is not None:
                print("roundhouse: the generation thread has ended", file=sys.stderr, flush=True)
                os._exit(1)  # the server would go on, and answer nothing

        def _tokenize(self, tokenizer: Any, request: Any, args: Any) -> Any:
            """The context is bounded here; the server itself knows no bound."""
            found = super()._tokenize(tokenizer, request, args)
            room = context_tokens - len(found[0])
            if room < 1:
                raise TooLongError(too_long(len(found[0]), context_tokens))
            args.max_tokens = min(args.max_tokens, room)
            return found

    return Generator(provider, server.LRUPromptCache(options.prompt_cache_size))


def too_long(n_tokens: int, context_tokens: int) -> str:
    return (
        f"the prompt has {n_tokens} tokens, which exceeds the available context size "
        f"({context_tokens} tokens) or leaves no room for an answer in it"
    )


def _handler(server: Any, token: str, served_name: str) -> type[Guard]:
    class Handler(Guard, server.APIHandler):  # type: ignore[misc]
        counts = Counts()

    Handler.token, Handler.served_name = token, served_name
    return Handler


if __name__ == "__main__":
    main()
