"""The three places in which vLLM 0.28 to 0.33 keep their server, as little trees of modules."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import EngineLoadError
from engines import vllm_compat

PARSER = """
import argparse
class FlexibleArgumentParser(argparse.ArgumentParser): pass
"""
CLI = """
def make_arg_parser(parser):
    parser.add_argument("--model")
    parser.add_argument("--block-size", type=int)
    return parser
def validate_parsed_serve_args(args): args.validated = True
"""
ENTRY = "def build_async_engine_client(args): return ('client of', args.model)\n"
APP = """
class App:
    class state: pass
def build_app(args, tasks, model_config): return App()
"""
STATE = "async def init_app_state(client, state, args, tasks): state.tasks = tasks\n"
LAUNCHERS = {
    "entrypoints/launchers/api_server/entry.py": ENTRY,
    "entrypoints/launchers/app.py": APP,
    "entrypoints/launchers/api_server/app_state.py": STATE,
}
LAYOUTS = {
    "0.28": {
        "entrypoints/openai/api_server.py": ENTRY + APP + STATE,
        "entrypoints/openai/cli_args.py": CLI,
    },
    "0.29 to 0.32": {**LAUNCHERS, "entrypoints/launchers/cli_args.py": CLI},
    "0.33": {**LAUNCHERS, "entrypoints/common/cli_args.py": CLI},
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Puts a tree of modules in the place of vLLM for the time of a test."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(files: dict[str, str]) -> None:
        for name, text in {**files, "utils/argparse_utils.py": PARSER}.items():
            file = tmp_path / "vllm" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for folder in {file.parent for file in tmp_path.rglob("*.py")}:
            (folder / "__init__.py").touch()
        (tmp_path / "vllm" / "__init__.py").touch()

    return write


@pytest.fixture(autouse=True)
def _forget_the_tree() -> object:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


class Client:
    model_config = None

    async def get_supported_tasks(self) -> tuple[str, ...]:
        return ("generate",)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_is_found(
    layout: dict[str, str], install: Callable[[dict[str, str]], None]
) -> None:
    install(layout)
    args = vllm_compat.parse_arguments(["--model", "m"])
    assert (args.model, args.validated) == ("m", True)
    assert vllm_compat.open_client(args) == ("client of", "m")
    app = asyncio.run(vllm_compat.build_app(Client(), args))
    assert app.state.tasks == ("generate",)
    assert vars(app.state.server) == {}


def test_an_unknown_layout_is_told(install: Callable[[dict[str, str]], None]) -> None:
    install({"entrypoints/elsewhere.py": ""})
    with pytest.raises(EngineLoadError, match=r"0\.28 to 0\.33 are known"):
        vllm_compat.parse_arguments([])
    with pytest.raises(EngineLoadError, match=r"0\.28 to 0\.33 are known"):
        vllm_compat.open_client(Namespace(model="m"))


def test_what_the_parser_refuses_is_told_in_its_words(
    install: Callable[[dict[str, str]], None],
) -> None:
    install(LAYOUTS["0.33"])
    with pytest.raises(EngineLoadError, match="invalid int value: 'banana'"):
        vllm_compat.parse_arguments(["--block-size", "banana"])


def test_a_package_that_vllm_misses_is_not_taken_for_another_layout(
    install: Callable[[dict[str, str]], None],
) -> None:
    broken = {"entrypoints/launchers/api_server/entry.py": "import no_such_package\n"}
    install({**LAYOUTS["0.33"], **broken})
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        vllm_compat.open_client(Namespace(model="m"))
