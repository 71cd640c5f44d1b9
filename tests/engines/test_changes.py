"""What differs between two configs, and what of it a running server can take over."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import Config
from engines.changes import changes

GGUF = {"source": "/m/a.gguf"}
FAR = {"source": "http://127.0.0.1:9/v1", "engine": "openai"}
OLLAMA = {"source": "ollama:qwen3"}


def config(models: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({"models": models, **sections})


def test_the_same_is_no_change() -> None:
    models = {"a": GGUF, "far": FAR, "o": OLLAMA}
    found = changes(config(models), config(models))
    assert not found.any
    assert found.unchanged == ("a", "far", "o")


def test_models_come_and_go_in_the_configs_order() -> None:
    found = changes(config({"a": GGUF, "b": GGUF}), config({"d": GGUF, "b": GGUF, "c": FAR}))
    assert (found.added, found.removed, found.unchanged) == (("d", "c"), ("a",), ("b",))


@pytest.mark.parametrize(
    "more",
    [
        {"source": "/m/other.gguf"},
        {"max_model_len": 99},
        {"engine_args": {"n_parallel": 2}},
        {"engine": "vllm", "source": "owner/name"},
        {"placement": {"replicas": 2}},
    ],
)
def test_what_its_processes_are_made_of_has_it_loaded_anew(more: dict[str, Any]) -> None:
    found = changes(config({"a": GGUF}), config({"a": {**GGUF, **more}}))
    assert (found.changed, found.unchanged, found.settings, found.fixed) == (("a",), (), (), ())


@pytest.mark.parametrize(
    "more",
    [
        {"aliases": ["x"]},
        {"tasks": ["code"]},
        {"quality": {"code": 0.5}},
        {"max_in_flight": 3},
        {"keep_alive": "1m"},
        {"pinned": True},
        {"load": "on_demand"},
    ],
)
def test_what_the_router_alone_goes_by_leaves_it_loaded(more: dict[str, Any]) -> None:
    found = changes(config({"a": GGUF}), config({"a": {**GGUF, **more}}))
    assert (found.changed, found.unchanged, found.fixed) == ((), ("a",), ())
    assert found.settings == (f"models.a.{next(iter(more))}",)


@pytest.mark.parametrize(
    ("sections", "key", "is_live"),
    [
        ({"router": {"strategy": "cost"}}, "router.strategy", True),
        ({"router": {"breaker": {"failures": 9}}}, "router.breaker", True),
        ({"router": {"retry": {"max": 0}}}, "router.retry", True),
        ({"lifecycle": {"max_wait": "1s"}}, "lifecycle.max_wait", True),
        ({"defaults": {"keep_alive": "1s"}}, "defaults.keep_alive", True),
        ({"router": {"hedge": {"enabled": True}}}, "router.hedge", False),
        ({"router": {"policy": "session"}}, "router.policy", False),
        ({"defaults": {"stall_timeout": "1s"}}, "defaults.stall_timeout", False),
        ({"server": {"port": 9}}, "server.port", False),
        ({"server": {"api_keys": ["sk-not-to-be-shown"]}}, "server.api_keys", False),
        ({"gpu": {"reserve_gib": 9}}, "gpu.reserve_gib", False),
    ],
)
def test_each_setting_is_named(sections: dict[str, Any], key: str, is_live: bool) -> None:
    found = changes(config({"a": GGUF}), config({"a": GGUF}, **sections))
    assert (found.settings, found.fixed) == (((key,), ()) if is_live else ((), (key,)))
    assert found.unchanged == ("a",)


def test_another_server_of_ollamas_concerns_its_models_alone() -> None:
    models = {"a": GGUF, "o": OLLAMA}
    found = changes(config(models), config(models, ollama={"base_url": "http://127.0.0.1:9"}))
    assert (found.changed, found.unchanged) == (("o",), ("a",))


def test_a_model_does_not_move_between_our_processes_and_somebody_elses() -> None:
    found = changes(config({"a": GGUF}), config({"a": FAR}))
    assert found.fixed == ("models.a.engine (llamacpp to openai; or remove it first, then add it)",)


def test_the_second_stage_holds_on_to_its_model() -> None:
    router = {"second_stage": {"model": "far"}}
    other = {**FAR, "source": "http://127.0.0.1:10/v1"}
    found = changes(config({"far": FAR}, router=router), config({"far": other}, router=router))
    assert found.fixed == ("models.far (router.second_stage asks it)",)
