"""The only file that knows where vLLM keeps its entry points, from 0.28 to 0.33.

What moved: 0.29 took the server from `entrypoints.openai` to `entrypoints.launchers`, 0.33 the
argument parser on to `entrypoints.common`. Signatures stayed the same.
"""

from __future__ import annotations

import importlib
import types
from argparse import Namespace
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn

from common.errors import EngineLoadError

_SERVER = (
    (
        "vllm.entrypoints.launchers.api_server.entry",
        "vllm.entrypoints.launchers.app",
        "vllm.entrypoints.launchers.api_server.app_state",
    ),
    ("vllm.entrypoints.openai.api_server",) * 3,
)
_CLI_ARGS = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)


def parse_arguments(argv: list[str]) -> Namespace:
    """vLLM's own parser over `argv`. Raises EngineLoadError with the parser's words."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    cli_args = _first_with("make_arg_parser", _CLI_ARGS)
    parser = cli_args.make_arg_parser(FlexibleArgumentParser())
    parser.error = _refuse
    args: Namespace = parser.parse_args(argv)
    cli_args.validate_parsed_serve_args(args)
    return args


def open_client(args: Namespace) -> AbstractAsyncContextManager[Any]:
    """An async context manager around a running AsyncLLM; blocks while the model loads."""
    client: AbstractAsyncContextManager[Any] = _server()[0].build_async_engine_client(args)
    return client


async def build_app(client: Any, args: Namespace) -> Any:
    """vLLM's OpenAI application (ASGI) over a client."""
    _, app_module, state_module = _server()
    tasks = await client.get_supported_tasks()
    app = app_module.build_app(args, tasks, client.model_config)
    await state_module.init_app_state(client, app.state, args, tasks)
    app.state.server = types.SimpleNamespace()  # vLLM's launcher would set it; handlers look it up
    return app


async def probe(client: Any) -> None:
    """Goes to the engine core's loop and back; hangs as long as the core does."""
    await client.is_sleeping()


def _server() -> tuple[Any, Any, Any]:
    for names in _SERVER:
        try:
            entry, app, state = (importlib.import_module(name) for name in names)
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("vllm.entrypoints"):
                raise
        else:
            return entry, app, state
    raise EngineLoadError("this vLLM keeps its server elsewhere; versions 0.28 to 0.33 are known")


def _first_with(attribute: str, names: tuple[str, ...]) -> Any:
    for name in names:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("vllm.entrypoints"):
                raise
            continue
        if hasattr(module, attribute):
            return module
    raise EngineLoadError(f"this vLLM has no {attribute}; versions 0.28 to 0.33 are known")


def _refuse(message: str) -> NoReturn:
    raise EngineLoadError(f"vLLM refuses its arguments: {message}")
