"""The models of an Ollama server as models of Roundhouse."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import Config
from common.errors import ConfigError, StartError
from engines.ollama.discover import discover, with_models
from engines.ollama.served import by_server, served
from tests.fakes.running_ollama import FakeOllama

NOBODY = "http://127.0.0.1:1"


def config(url: str | None = None, **models: Any) -> Config:
    ollama = {"discover": True, **({"base_url": url} if url else {})}
    return Config.model_validate({"models": models, "ollama": ollama})


def test_every_model_of_the_server_is_served_under_its_own_name() -> None:
    said: list[str] = []
    with FakeOllama("llama3.2", "qwen3:8b") as server:
        found = discover(config(server.url), {}, said.append)
    assert {name: model.aliases for name, model in found.models.items()} == {
        "llama3.2:latest": ("llama3.2",),
        "qwen3:8b": (),
    }
    assert [(each.model, each.name, each.url) for each in served(found, {})] == [
        ("llama3.2:latest", "llama3.2:latest", server.url),
        ("qwen3:8b", "qwen3:8b", server.url),
    ]
    assert said == []


def test_what_runs_elsewhere_is_left_out() -> None:
    said: list[str] = []
    with FakeOllama("llama3.2", "gpt-oss:120b-cloud") as server:
        found = discover(config(server.url), {}, said.append)
    assert list(found.models) == ["llama3.2:latest"]
    assert said == [
        "Ollama's gpt-oss:120b-cloud is left out, since it runs at https://ollama.com:443"
    ]


def test_it_finds_the_server_by_ollamas_own_variable() -> None:
    with FakeOllama("llama3.2") as server:
        environ = {"OLLAMA_HOST": server.url.removeprefix("http://")}
        found = discover(config(), environ, print)
    assert list(by_server(served(found, environ))) == [server.url]


def test_a_variable_that_is_no_address_is_told() -> None:
    with pytest.raises(ConfigError, match="OLLAMA_HOST: 'ftp://x' is no address"):
        discover(config(), {"OLLAMA_HOST": "ftp://x"}, print)


def test_a_name_that_is_taken_stays_with_the_config() -> None:
    said: list[str] = []
    mine = config(**{"qwen3:8b": {"source": "a/b", "aliases": ["llama3.2"]}})
    found = with_models(mine, ["llama3.2:latest", "qwen3:8b"], said.append)
    assert found.models["qwen3:8b"].source == "a/b"
    assert found.models["llama3.2:latest"].aliases == ()  # the short name is taken too
    assert said == ["Ollama's qwen3:8b is left to the model of that name in the config"]


def test_without_being_asked_nothing_is_looked_for() -> None:
    mine = Config.model_validate(
        {"models": {"m": {"source": "a/b"}}, "ollama": {"base_url": NOBODY}}
    )
    assert discover(mine, {}, print) is mine


def test_a_server_that_does_not_answer_is_left_out() -> None:
    said: list[str] = []
    mine = config(NOBODY, m={"source": "a/b"})
    assert discover(mine, {}, said.append) is mine
    (line,) = said
    assert line.startswith(f"models of Ollama are left out: no Ollama answers at {NOBODY}")
    assert "`ollama serve`" in line


def test_nothing_at_all_to_serve_is_an_error() -> None:
    with pytest.raises(StartError, match="there is no model to serve: no Ollama answers"):
        discover(config(NOBODY), {}, print)
    with (
        FakeOllama() as server,
        pytest.raises(StartError, match="has none; `ollama pull` fetches one"),
    ):
        discover(config(server.url), {}, print)


def test_what_a_model_says_wins_over_the_section() -> None:
    data = {
        "models": {
            "one": {"source": "ollama:a", "keep_alive": 0, "pull": False},
            "two": {"source": "b", "engine": "ollama", "base_url": "box:9"},
            "far": {"source": "http://x", "engine": "openai"},
        },
        "ollama": {"base_url": "http://127.0.0.1:7", "keep_alive": "1h", "pull": True},
    }
    one, two = served(Config.model_validate(data), {})
    assert (one.id, one.name, one.url, one.pull) == ("one-0", "a", "http://127.0.0.1:7", False)
    assert (two.id, two.name, two.url, two.pull) == ("two-0", "b", "http://box:9", True)
    assert one.keep_alive is not None
    assert one.keep_alive.at_once
    assert two.keep_alive is not None
    assert two.keep_alive.seconds == 3600
