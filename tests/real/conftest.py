"""Servers of real engines. They run one after another: first those of single modules, then `house`.

The order keeps two sets of engines from sharing the box, and kills what is served last of all.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from engines import embedded
from tests.real import tiny_llama
from tests.real.serving import RunningServer, small

_ORDER = ("test_faults", "test_bad_starts", "test_commands", "test_serve_run", "test_fake_gpus")
_OF_THE_HOUSE = (
    "test_api",
    "test_engines_alike",
    "test_ensembles",
    "test_llamacpp",
    "test_readme",
    "test_predictions",
    "test_layouts",
    "test_kills",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [*_ORDER, *_OF_THE_HOUSE]
    items.sort(key=lambda item: names.index(item.path.stem) + 1 if item.path.stem in names else 0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for server in getattr(item, "funcargs", {}).values():
            if isinstance(server, RunningServer):
                report.sections.append(("the server's logs", server.tail()))
    return report


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The embedded model's folder."""
    return embedded.cached_path("smollm2") or embedded.fetch("smollm2", print)


@pytest.fixture(scope="session")
def tiny(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that loads in no time; it answers with nonsense."""
    return tiny_llama.make(smollm2, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def house(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server with everything: two replicas of a real model, the same model on llama.cpp, and a
    tiny one on one and on two workers. Its timeouts are short, so that a frozen engine is found out
    soon."""
    config = {
        "defaults": {"first_token_timeout": "10s", "stall_timeout": "10s"},
        "router": {"resume": {"enabled": True}, "fallbacks": {"tiny-tp1": ["smollm2"]}},
        "models": {
            "smollm2": {
                "source": "embedded:smollm2",
                "placement": {"replicas": 2},
                "aliases": ["gpt-4o-mini"],
                "max_model_len": 2048,
                "engine_args": {"kv_cache_memory_bytes": 512 << 20},
            },
            "smollm2-gguf": {
                "source": "embedded:smollm2-gguf",
                "aliases": ["gpt-4.1-nano"],
                "max_model_len": 1024,
                "engine_args": {"n_parallel": 4},
            },
            "tiny-tp1": small(tiny),
            "tiny-tp2": small(tiny) | {"placement": {"tp": 2}},
        },
    }
    with RunningServer(config, tmp_path_factory.mktemp("house")) as server:
        yield server.wait_ready()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
