"""Where Ollama listens: what OLLAMA_HOST may hold, and what wins."""

from __future__ import annotations

import pytest

from common.ollama_host import base_url, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # where it listens is no address to call
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("box.lan", "http://box.lan:11434"),
        ("http://box.lan", "http://box.lan:80"),
        ("https://box.lan", "https://box.lan:443"),
        ("https://box.lan:8443/ollama/", "https://box.lan:8443/ollama"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert parse(text) == url
    assert parse(url) == url


@pytest.mark.parametrize(
    "text", ["ftp://box", "http://me:secret@box", "http://box:99999", "http://b?x=1"]
)
def test_what_is_none_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no address of an Ollama server") as caught:
        parse(text)
    assert "http://127.0.0.1:11434" in str(caught.value)


def test_the_config_wins_over_the_variable_and_that_over_the_default() -> None:
    assert base_url("http://a:1", {"OLLAMA_HOST": "b:2"}) == "http://a:1"
    assert base_url(None, {"OLLAMA_HOST": ' "b:2" '}) == "http://b:2"
    assert base_url(None, {"OLLAMA_HOST": ""}) == "http://127.0.0.1:11434"
    assert base_url(None, {}) == "http://127.0.0.1:11434"
