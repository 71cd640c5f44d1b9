"""What `remote:` and `price:` may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from common.config import Config


def load(**model: Any) -> Config:
    entry = {"engine": "openai", "source": "http://a/v1", **model}
    return Config.model_validate({"models": {"m": entry}})


def test_all_of_it_may_be_left_out() -> None:
    model = load().models["m"]
    assert (model.remote, model.price) == (None, None)


def test_all_of_it() -> None:
    remote = {"model": "gpt", "api_key_env": "K", "headers": {"x-a": "b"}, "health": False}
    model = load(remote=remote, price={"input": 1, "output": 2.5}).models["m"]
    assert model.remote is not None
    assert (model.remote.model, model.remote.health, model.remote.max_tokens) == (
        "gpt",
        False,
        4096,
    )
    assert model.price is not None
    assert model.price.output == 2.5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"remote": {"api_key": "sk-123"}}, "api_key"),
        ({"remote": {"api_key_env": "A", "api_key_file": "b"}}, "exclude each other"),
        ({"remote": {"headers": {"Authorization": "x"}}}, "keys belong into api_key_env"),
        ({"remote": {"headers": {"a b": "x"}}}, "'a b' is no name of a header"),
        ({"remote": {"headers": {"x-a": "b\r\nc: d"}}}, "more than printable ASCII"),
        ({"price": {"input": 1}}, "output"),
        ({"price": {"input": -1, "output": 0}}, "greater than or equal to 0"),
        ({"source": "anthropic"}, "or of: openai, zai, glm, openrouter, gemini"),
        ({"source": "openai", "engine": "anthropic"}, "engine anthropic, or of: anthropic"),
        ({"source": "a/b", "engine": "vllm", "price": {"input": 0, "output": 0}}, "not vllm"),
    ],
)
def test_wrong_values(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        load(**model)


def test_keys_in_headers_are_not_in_the_representation() -> None:
    assert "tell-nobody" not in repr(load(remote={"headers": {"x-key": "tell-nobody"}}))
