"""Ollama's names: what is one, and which mean the same."""

from __future__ import annotations

import pytest

from common.ollama_names import bare, canonical, is_name, short


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2",
        "llama3.2:latest",
        "qwen3:8b-q4_K_M",
        "owner/model",
        "owner/model:tag",
        "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
        "localhost:5000/owner/model:tag",
    ],
)
def test_names(name: str) -> None:
    assert is_name(name)
    assert is_name(canonical(name))


@pytest.mark.parametrize("text", ["", "a b", "http://x", "a:b:c", ":tag", "a/b/c/d", "a/", "-a"])
def test_what_is_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("Llama3.2", "llama3.2"),
        ("library/llama3.2", "llama3.2"),
        ("registry.ollama.ai/library/llama3.2:latest", "llama3.2"),
        ("localhost:5000/owner/model", "localhost:5000/owner/model:latest"),
    ],
)
def test_names_that_mean_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


def test_another_tag_is_another_model() -> None:
    assert canonical("llama3.2:1b") != canonical("llama3.2")
    assert canonical("owner/llama3.2") != canonical("llama3.2")


def test_a_source_may_carry_a_prefix() -> None:
    assert bare("ollama:llama3.2:1b") == "llama3.2:1b"
    assert bare("llama3.2:1b") == "llama3.2:1b"


def test_the_tag_latest_may_be_left_out() -> None:
    assert short("llama3.2:latest") == "llama3.2"
    assert short("llama3.2:1b") is None
    assert short("llama3.2") is None
