"""What the config may say of Ollama's models."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.config import Config


def config(**data: Any) -> Config:
    return Config.model_validate(data)


@pytest.mark.parametrize(
    "model", [{"source": "ollama:llama3.2"}, {"source": "llama3.2", "engine": "ollama"}]
)
def test_a_source_or_an_engine_makes_it_ollamas(model: dict[str, Any]) -> None:
    assert config(models={"m": model}).engine_of("m") == "ollama"


def test_the_section_alone_is_enough_to_discover() -> None:
    assert config(ollama={"discover": True}).models == {}
    with pytest.raises(ValidationError, match=r"at least 1 item \(or set ollama.discover\)"):
        config(models={}, ollama={"discover": False})


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"source": "a b"}, "models.m.source: 'a b' is no name of a model of Ollama"),
        ({"source": ["a", "b"]}, "models.m.source: engine ollama takes one model, not URLs"),
        ({"source": "http://a"}, "models.m.source"),
        ({"source": "a", "dtype": "float16"}, "models.m.dtype: Ollama's server decides that"),
        ({"source": "a", "max_model_len": 9}, "models.m.max_model_len: Ollama's server decides"),
        ({"source": "a", "engine_args": {"x": 1}}, "models.m.engine_args: Ollama's server"),
        ({"source": "a", "placement": {"tp": 2}}, "models.m.placement: Ollama's server decides"),
        ({"source": "a", "keep_alive": "soon"}, "'soon' is no keep_alive"),
        ({"source": "a", "base_url": "ftp://x"}, "'ftp://x' is no address of an Ollama server"),
    ],
)
def test_what_it_may_not_say(model: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(models={"m": {"engine": "ollama", **model}})
    assert told in str(caught.value)


@pytest.mark.parametrize("key", [{"base_url": "http://a"}, {"pull": True}])
def test_keys_of_ollamas_alone(key: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="only engine ollama has it, not vllm"):
        config(models={"m": {"source": "a/b", **key}})


@pytest.mark.parametrize("key", [{"pinned": True}, {"load": "on_demand"}])
def test_what_ollamas_server_decides_by_its_own_keep_alive(key: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="keep_alive: -1 loads a model at the start"):
        config(models={"m": {"source": "ollama:a", **key}})


@pytest.mark.parametrize("key", [{"pinned": True}, {"load": "on_demand"}, {"keep_alive": "1h"}])
def test_a_remote_model_is_not_loaded_here(key: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a remote engine's models are not loaded here"):
        config(models={"m": {"source": "http://box/v1", "engine": "openai", **key}})


def test_what_is_dumped_loads_again() -> None:
    once = config(
        models={"m": {"source": "ollama:a", "keep_alive": "10m", "base_url": "box"}},
        ollama={"keep_alive": -1},
    )
    dumped = once.model_dump(mode="json", by_alias=True)
    assert dumped["models"]["m"]["keep_alive"] == 600
    assert Config.model_validate(dumped) == once
