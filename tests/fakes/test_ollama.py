"""The fake Ollama, checked by Ollama's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.process import OPENER
from tests.fakes.running_ollama import FakeOllama

ollama = pytest.importorskip("ollama")
HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    with FakeOllama("llama3.2", "nomic-embed-text") as running:
        yield running


@pytest.fixture
def client(server: FakeOllama) -> Iterator[Any]:
    with ollama.Client(host=server.url, trust_env=False) as client:
        yield client


def test_it_lists_and_shows(client: Any) -> None:
    (first, _) = client.list().models
    assert first.model == "llama3.2:latest"
    assert first.details.parameter_size == "3.2B"
    shown = client.show("llama3.2")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["llama.context_length"] == 131072
    with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as caught:
        client.show("nobody")
    assert caught.value.status_code == 404


def test_it_generates(client: Any) -> None:
    parts = list(client.generate("llama3.2", "hi", stream=True))
    assert "".join(part.response for part in parts) == "one two three"
    assert [part.done for part in parts] == [False, False, False, True]
    assert parts[-1].done_reason == "stop"
    assert parts[-1].total_duration == 2_000_000_000
    assert client.generate("llama3.2", "hi").eval_count == 3


def test_it_chats(client: Any) -> None:
    assert client.chat("llama3.2", HI).message.content == "one two three"
    parts = [part.message.content for part in client.chat("llama3.2", HI, stream=True)]
    assert parts == ["one ", "two ", "three", ""]


def test_an_empty_prompt_loads_and_unloads(client: Any) -> None:
    assert client.generate("llama3.2", keep_alive="10m").done_reason == "load"
    (running,) = client.ps().models
    assert running.model == "llama3.2:latest"
    assert running.size_vram == 2_000_000_000
    assert running.expires_at is not None
    assert client.generate("llama3.2", keep_alive=0).done_reason == "unload"
    assert client.ps().models == []
    assert client.chat("llama3.2", [], keep_alive=-1).done_reason == "load"
    assert client.ps().models[0].expires_at.year > 2300
    assert client.chat("llama3.2", [], keep_alive=0).done_reason == "unload"
    assert len(client.list().models) == 2


def test_it_embeds(client: Any) -> None:
    answer = client.embed("nomic-embed-text", ["one", "two"])
    assert [list(each) for each in answer.embeddings] == [[0.6, 0.8, 0.0]] * 2


def test_it_pulls(server: FakeOllama, client: Any) -> None:
    server.set(pullable=["qwen3:8b"])
    steps = list(client.pull("qwen3:8b", stream=True))
    assert steps[0].status == "pulling manifest"
    assert any(step.completed == step.total for step in steps if step.total)
    assert steps[-1].status == "success"
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("nobody", stream=True))


def test_it_deletes_from_the_disk(client: Any) -> None:
    client.delete("llama3.2")
    assert [each.model for each in client.list().models] == ["nomic-embed-text:latest"]


def test_a_bare_look(server: FakeOllama) -> None:
    with OPENER.open(server.url) as answer:
        assert answer.read() == b"Ollama is running"
