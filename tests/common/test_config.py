"""What a config may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.config import Config, PlacementConfig, is_loopback

M: dict[str, Any] = {"m": {"source": "a/b"}}


def refusal(**data: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        Config.model_validate({"models": M} | data)
    (problem,) = refused.value.errors()
    return str(problem["msg"]).removeprefix("Value error, ")


def test_the_defaults() -> None:
    config = Config.model_validate({"models": M})
    assert (config.server.host, config.server.port, config.server.api_keys) == (
        "127.0.0.1",
        8000,
        (),
    )
    assert (config.router.policy, config.router.retry.max) == ("prefix_aware", 2)
    assert config.engine_of("m") == "vllm"
    assert config.max_in_flight_of("m") == 256
    assert config.models["m"].placement == "auto"
    assert (config.gpu.reserve_gib, config.gpu.devices) == (1.0, "all")


@pytest.mark.parametrize(
    ("source", "engine"),
    [
        ("a/b:Q4_K_M", "llamacpp"),
        ("a/b@main:b-Q8_0.gguf", "llamacpp"),
        ("a/b/b-Q8_0.gguf", "llamacpp"),
        ("~/b.gguf", "llamacpp"),
        ("a/b@v1.0", "vllm"),
        ("ollama:a/b:7b", "ollama"),
    ],
)
def test_the_engine_follows_from_the_source(source: str, engine: str) -> None:
    config = Config.model_validate({"models": {"m": {"source": source}}})
    assert config.engine_of("m") == engine


def test_a_model_may_differ_from_the_defaults() -> None:
    config = Config.model_validate(
        {
            "defaults": {"engine": "openai", "max_in_flight": 8},
            "models": {
                "far": {"source": ["http://a/v1", "https://b"]},
                "near": {"source": "a/b", "engine": "vllm", "max_in_flight": 2},
            },
        }
    )
    assert [config.engine_of(name) for name in config.models] == ["openai", "vllm"]
    assert [config.max_in_flight_of(name) for name in config.models] == [8, 2]
    assert config.models["far"].sources == ("http://a/v1", "https://b")
    assert config.models["near"].sources == ("a/b",)


def test_nothing_changes_after_loading() -> None:
    config = Config.model_validate({"models": M})
    with pytest.raises(ValidationError, match="frozen"):
        config.server.port = 9  # type: ignore[misc]


def test_what_is_dumped_loads_again() -> None:
    data = {
        "server": {"host": "::", "api_keys": ["long-enough"], "drain_timeout": "12d"},
        "models": {
            "m": {"source": "a/b", "placement": {"replicas": 2}, "aliases": ["x"]},
            "n": {"source": ["http://a"], "engine": "openai"},
        },
    }
    config = Config.model_validate(data)
    assert Config.model_validate(config.model_dump(mode="json", by_alias=True)) == config


# Hosts and keys


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]", "0:0:0:0:0:0:0:1"]
)
def test_loopback_needs_no_keys(host: str) -> None:
    assert is_loopback(host)
    assert Config.model_validate({"models": M, "server": {"host": host}}).server.host == host


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "[::]", "192.168.1.5", "fe80::1", "gpu-box", "localhost.example.com", ""],
)
def test_other_hosts_need_keys(host: str) -> None:
    assert not is_loopback(host)
    assert refusal(server={"host": host}) == (
        f"host: {host!r} can be reached from other machines, so api_keys must hold at least one "
        "key (or listen on 127.0.0.1)"
    )
    server = {"host": host, "api_keys": ["long-enough"]}
    assert Config.model_validate({"models": M, "server": server}).server.host == host


@pytest.mark.parametrize("keys", [["short-7"], ["long-enough", ""]])
def test_short_keys_are_refused(keys: list[str]) -> None:
    said = refusal(server={"api_keys": keys})
    assert said == "a key needs at least 8 characters"


# Names


@pytest.mark.parametrize(
    "name", ["m", "Qwen/Qwen3-0.6B", "llama3:8b", "org/model@v1+fp8", "7b", "a_b.c"]
)
def test_names_as_the_hub_and_ollama_have_them(name: str) -> None:
    assert list(Config.model_validate({"models": {name: M["m"]}}).models) == [name]


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "/a", "ü", "a\n", "a?b", "$m"])
def test_other_names_are_refused(name: str) -> None:
    told = f"{name!r} is no name for a model; letters, digits and . _ : / @ + - are allowed"
    assert refusal(models={name: {"source": "a/b"}}) == f"models.{name}: {told}"
    assert refusal(models={"m": {"source": "a/b", "aliases": [name]}}) == told


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ({"m": ["x"], "n": ["x"]}, "models.n.aliases: 'x' is a name of 'm' already"),
        ({"m": ["n"], "n": []}, "models.n: 'n' is an alias of 'm' already"),
        ({"m": [], "n": ["m"]}, "models.n.aliases: 'm' is a name of 'm' already"),
        ({"m": ["m"]}, "models.m.aliases: 'm' is a name of 'm' already"),
        ({"m": ["x", "y", "x"]}, "models.m.aliases: 'x' is a name of 'm' already"),
    ],
)
def test_a_name_is_given_once(aliases: dict[str, list[str]], said: str) -> None:
    models = {name: {"source": "a/b", "aliases": each} for name, each in aliases.items()}
    assert refusal(models=models) == said


def test_there_is_a_model_at_least() -> None:
    assert "at least 1 item" in refusal(models={})


# Placement


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (
            {"tp": 2, "gpus": [0]},
            "gpus: names 1 GPUs, but tp 2 x pp 1 x 1 replicas need 2",
        ),
        (
            {"tp": 2, "pp": 2, "replicas": 2, "gpus": [0, 1, 2, 3]},
            "gpus: names 4 GPUs, but tp 2 x pp 2 x 2 replicas need 8",
        ),
        ({"gpus": [0, 1]}, "gpus: names 2 GPUs, but tp 1 x pp 1 x 1 replicas need 1"),
        ({"tp": 2, "gpus": [1, 1]}, "gpus: names a GPU twice"),
    ],
)
def test_the_gpus_named_must_suffice(placement: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        PlacementConfig.model_validate(placement)
    assert refused.value.errors()[0]["msg"] == f"Value error, {said}"


def test_exactly_as_many_gpus_are_right() -> None:
    placement = {"tp": 2, "pp": 1, "replicas": 2, "gpus": [3, 2, 1, 0]}
    assert PlacementConfig.model_validate(placement).gpus == (3, 2, 1, 0)


# Remote engines


NO_URLS = (
    "models.m.source: must be http(s) URLs for engine openai, or of: "
    "openai, zai, glm, openrouter, gemini"
)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"source": "a/b", "engine": "openai"},
            NO_URLS,
        ),
        (
            {"source": ["http://a", "a/b"], "engine": "openai"},
            NO_URLS,
        ),
        (
            {"source": "ftp://a", "engine": "openai"},
            NO_URLS,
        ),
        ({"source": "http://a"}, "models.m.source: engine vllm takes one model, not URLs"),
        ({"source": ["a/b", "c/d"]}, "models.m.source: engine vllm takes one model, not URLs"),
        (
            {"source": "http://a", "engine": "openai", "placement": {"replicas": 2}},
            (
                "models.m: a remote engine has no placement and no engine_args; give several URLs "
                "for several replicas"
            ),
        ),
        (
            {"source": "http://a", "engine": "openai", "engine_args": {"seed": 1}},
            (
                "models.m: a remote engine has no placement and no engine_args; give several URLs "
                "for several replicas"
            ),
        ),
    ],
)
def test_sources_fit_their_engine(model: dict[str, Any], said: str) -> None:
    assert refusal(models={"m": model}) == said


def test_an_empty_list_of_urls_is_no_source() -> None:
    assert "models.m.source: must be" in refusal(models={"m": {"source": [], "engine": "openai"}})
