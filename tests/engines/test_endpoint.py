"""From the config to endpoints: URLs, names, and keys that are never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config import Config
from common.errors import ConfigError
from engines.endpoint import Remote, remotes_of

KEY = "sk-very-secret-0123456789"


def remote(engine: str = "openai", **model: Any) -> Remote:
    entry = {"engine": engine, "source": "http://a/v1", **model}
    (found,) = remotes_of(Config.model_validate({"models": {"m": entry}}))
    return found


@pytest.mark.parametrize(
    ("source", "url", "chat"),
    [
        ("http://a:8001/v1/", "http://a:8001", "/v1/chat/completions"),
        ("http://a:8001", "http://a:8001", "/v1/chat/completions"),
        ("https://a/openai/v1", "https://a/openai", "/v1/chat/completions"),
        ("https://a/api/paas/v4", "https://a/api/paas/v4", "/chat/completions"),
    ],
)
def test_base_urls_are_those_of_the_sdks(source: str, url: str, chat: str) -> None:
    found = remote(source=source)
    assert (found.url, found.endpoint.path("/v1/chat/completions")) == (url, chat)


@pytest.mark.parametrize(
    ("engine", "preset", "url", "variable"),
    [
        ("openai", "openai", "https://api.openai.com", "OPENAI_API_KEY"),
        ("openai", "zai", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
        ("openai", "glm", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
        ("openai", "openrouter", "https://openrouter.ai/api", "OPENROUTER_API_KEY"),
        (
            "openai",
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
        ),
        ("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    ],
)
def test_presets(
    engine: str, preset: str, url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, KEY)
    found = remote(engine, source=preset)
    assert (found.url, found.endpoint.key, found.endpoint.key_place) == (url, KEY, variable)


def test_a_key_of_another_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", f" {KEY}\n")
    found = remote(source="openai", remote={"api_key_env": "MINE"})
    assert found.endpoint.own_headers() == [(b"authorization", f"Bearer {KEY}".encode())]


def test_a_key_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    found = remote("anthropic", remote={"api_key_file": str(file), "headers": {"X-A": "b"}})
    documented = (b"anthropic-version", b"2023-06-01")
    key = KEY.encode()
    assert found.endpoint.own_headers() == [(b"x-a", b"b"), (b"x-api-key", key), documented]
    later = (b"anthropic-version", b"2026-10-21")
    bearer = (b"authorization", b"Bearer " + key)
    assert found.endpoint.own_headers(later[1]) == [(b"x-a", b"b"), bearer, later]


def test_without_a_key_none_is_sent() -> None:
    assert remote().endpoint.own_headers() == []
    assert dict(remote("anthropic").endpoint.own_headers()) == {b"anthropic-version": b"2023-06-01"}


def test_a_missing_key_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError) as caught:
        remote(source="openai")
    assert str(caught.value) == (
        "models.m.remote.api_key_env: the environment variable OPENAI_API_KEY holds no key"
    )
    with pytest.raises(ConfigError, match=r"api_key_file: .*none cannot be read \(FileNotFound"):
        remote(remote={"api_key_file": str(tmp_path / "none")})


def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\nanother\n")
    with pytest.raises(ConfigError, match="more than one line or word") as caught:
        remote(remote={"api_key_file": str(file)})
    assert KEY not in str(caught.value)


def test_keys_and_headers_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", KEY)
    found = remote(remote={"api_key_env": "MINE", "headers": {"x-key": KEY}})
    assert KEY not in repr(found)


def test_the_name_there() -> None:
    assert remote().endpoint.model is None
    assert remote("anthropic").endpoint.model == "m"
    assert remote(remote={"model": "gpt-4.1"}).endpoint.model == "gpt-4.1"


def test_several_urls_are_several_replicas() -> None:
    entry = {"engine": "openai", "source": ["http://a", "http://b/v1"]}
    found = remotes_of(Config.model_validate({"models": {"m": entry}}))
    assert [(each.id, each.url) for each in found] == [("m-0", "http://a"), ("m-1", "http://b")]
