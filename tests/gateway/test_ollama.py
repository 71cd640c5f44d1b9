"""Models of an Ollama server through the whole gateway, as clients of OpenAI's and Anthropic's."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from common.config import Config
from engines.base import State
from engines.ollama import watch
from tests.fakes.running_ollama import FakeOllama
from tests.gateway.house import eventually
from tests.gateway.ollama_house import OllamaHouse

SAID = "one two three"
HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PERIOD_S", 0.02)


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama("llama3.2", "nomic-embed-text", "llama3.2-vision:11b") as running:
        yield running


Serve = Callable[..., OllamaHouse]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(url: str, *, models: dict[str, Any] | None = None, **model: Any) -> OllamaHouse:
            entry = {"source": "ollama:llama3.2", **model}
            data = {"models": models or {"m": entry}, "ollama": {"base_url": url}}
            house = OllamaHouse(Config.model_validate(data))
            house.start()
            stack.callback(house.stop)
            house.watch()
            return house

        yield serve


@pytest.fixture
def ready(serve: Serve) -> Serve:
    def ready(url: str, **options: Any) -> OllamaHouse:
        house = serve(url, **options)
        eventually(lambda: house.dispatcher.settled)
        return house

    return ready


Sdk = Callable[..., openai.OpenAI]


def test_chat_by_a_name_of_our_own(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url, aliases=["gpt-4o-mini"])
    for name in ("m", "gpt-4o-mini"):
        answer = sdk(house).chat.completions.create(model=name, messages=HI)
        assert answer.choices[0].message.content == SAID
        assert answer.model == "llama3.2"
        assert answer.usage
        assert answer.usage.completion_tokens == 3
        assert ollama.stats()["last"]["body"] == {"model": "llama3.2", "messages": HI}


def test_a_stream(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url)
    options: Any = {"include_usage": True}
    chunks = list(
        sdk(house).chat.completions.create(
            model="m", messages=HI, stream=True, stream_options=options
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == SAID
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 14


def test_completions_and_responses(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    client = sdk(ready(ollama.url))
    assert client.completions.create(model="m", prompt="hi").choices[0].text == SAID
    assert client.responses.create(model="m", input="hi").output_text == SAID


def test_embeddings(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url, source="ollama:nomic-embed-text")
    answer = sdk(house).embeddings.create(model="m", input=["one", "two"], encoding_format="float")
    assert [row.embedding for row in answer.data] == [[0.6, 0.8, 0.0]] * 2
    assert ollama.stats()["last"]["body"]["model"] == "nomic-embed-text"


def test_anthropics_messages(
    ollama: FakeOllama, ready: Serve, claude: Callable[..., anthropic.Anthropic]
) -> None:
    client = claude(ready(ollama.url))
    whole = client.messages.create(model="m", max_tokens=9, messages=HI)
    assert whole.content[0].text == SAID  # type: ignore[union-attr]
    with client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        assert "".join(stream.text_stream) == SAID


def test_it_is_loaded_by_a_request_and_told_so(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url)
    cold = house.row()
    assert (cold["state"], cold["loaded"], cold["vram_bytes"]) == ("ready", False, 0)
    assert (cold["version"], cold["loaded_until"]) == ("0.12.6", None)
    assert cold["max_model_len"] == 131072  # what it was made for, until it is loaded
    sdk(house).chat.completions.create(model="m", messages=HI)
    eventually(lambda: house.replica().loaded is True)
    warm = house.row()
    assert warm["vram_bytes"] == 2_000_000_000
    assert warm["loaded_until"] == pytest.approx(time.time() + 300, abs=30)
    assert warm["max_model_len"] == 4096  # with which the server loaded it


def test_keep_alive_holds_after_it_was_loaded(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url, keep_alive="1h")
    assert ollama.loaded() == {}  # on demand
    sdk(house).chat.completions.create(model="m", messages=HI)
    eventually(lambda: ollama.loaded() == {"llama3.2:latest": 3600})
    sdk(house).chat.completions.create(model="m", messages=HI)
    assert ollama.loaded() == {"llama3.2:latest": 3600}


@pytest.mark.parametrize("source", ["ollama:llama3.2", "ollama:nomic-embed-text"])
def test_for_ever_is_loaded_at_the_start(ollama: FakeOllama, ready: Serve, source: str) -> None:
    house = ready(ollama.url, keep_alive=-1, source=source)
    eventually(lambda: house.replica().loaded_until == math.inf)
    assert house.row()["loaded_until"] == "forever"
    calls = ollama.stats()["calls"]
    time.sleep(0.2)  # ten looks, and nothing is asked again
    again = ollama.stats()["calls"]
    assert again["/api/ps"] > calls["/api/ps"]
    for path in ("/api/generate", "/api/embed"):
        assert again.get(path, 0) == calls.get(path, 0) <= 1


def test_for_ever_that_cannot_be_is_not_asked_at_every_look(
    ollama: FakeOllama, ready: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    ollama.set(fail_load="not enough memory")
    ready(ollama.url, keep_alive=-1)
    eventually(lambda: ollama.stats()["calls"].get("/api/generate", 0) == 1)
    time.sleep(0.2)
    assert ollama.stats()["calls"]["/api/generate"] == 1
    monkeypatch.setattr(watch, "_KEEP_PAUSE_S", 0.05)
    ollama.kill()
    with FakeOllama("llama3.2", port=ollama.port) as again:  # one that comes back starts anew
        eventually(lambda: again.loaded().get("llama3.2:latest", 0) > 1e9)


def test_at_once_frees_it_and_deletes_nothing(ollama: FakeOllama, ready: Serve, sdk: Sdk) -> None:
    house = ready(ollama.url, keep_alive=0)
    sdk(house).chat.completions.create(model="m", messages=HI)
    eventually(lambda: ollama.loaded() == {} and house.replica().loaded is False)
    assert ollama.call("/api/ps") == {"models": []}
    stats = ollama.stats()
    assert "llama3.2:latest" in stats["models"]
    assert stats["deleted"] == []
    assert "/api/delete" not in stats["calls"]
    assert sdk(house).chat.completions.create(model="m", messages=HI).choices


def test_a_server_that_comes_later(serve: Serve, sdk: Sdk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    house = serve(f"http://127.0.0.1:{port}")
    eventually(lambda: "ollama serve" in house.replica().phase)
    assert house.replica().state is State.STARTING
    with pytest.raises(openai.InternalServerError) as caught:
        sdk(house).chat.completions.create(model="m", messages=HI)
    assert caught.value.status_code == 503
    assert f"no Ollama answers at http://127.0.0.1:{port}: start it" in caught.value.message
    with FakeOllama("llama3.2", port=port):
        eventually(lambda: house.dispatcher.settled)
        assert sdk(house).chat.completions.create(model="m", messages=HI).model == "llama3.2"
    eventually(lambda: house.replica().state is State.STARTING)


def test_a_model_that_is_missing_and_pulled_by_hand(
    ollama: FakeOllama, serve: Serve, sdk: Sdk
) -> None:
    house = serve(ollama.url, source="ollama:qwen3:8b")
    eventually(lambda: house.replica().state is State.FAILED)
    with pytest.raises(openai.InternalServerError) as caught:
        sdk(house).chat.completions.create(model="m", messages=HI)
    assert caught.value.status_code == 503
    assert caught.value.code == "model_missing"
    assert "`ollama pull qwen3:8b` fetches it, or `pull: true`" in caught.value.message
    ollama.set(models=["qwen3:8b"])
    eventually(lambda: house.dispatcher.settled)
    assert sdk(house).chat.completions.create(model="m", messages=HI).model == "qwen3:8b"


def test_a_model_is_pulled_with_progress(ollama: FakeOllama, serve: Serve) -> None:
    ollama.set(pullable=["qwen3:8b"], step_s=0.1)
    house = serve(ollama.url, source="ollama:qwen3:8b", pull=True)
    seen: list[str] = []

    def done() -> bool:
        replica = house.replica()
        if replica.state is State.LOADING and replica.phase not in seen:
            seen.append(replica.phase)
        return replica.state is State.READY

    eventually(done)
    shares = [phase for phase in seen if phase.endswith("% of 1.9 GiB")]
    assert len(shares) > 2, seen  # a look may miss some
    assert shares == sorted(shares, key=lambda phase: int(phase.split()[2]))
    assert ollama.stats()["calls"]["/api/pull"] == 1


def test_a_pull_that_fails_is_told_and_not_tried_for_ever(ollama: FakeOllama, serve: Serve) -> None:
    ollama.set(pullable=["qwen3:8b"], fail_pull="no space left on device")
    house = serve(ollama.url, source="ollama:qwen3:8b", pull=True)
    eventually(lambda: house.replica().state is State.FAILED)
    assert house.replica().error == "Ollama could not pull qwen3:8b: no space left on device"
    time.sleep(0.1)
    assert ollama.stats()["calls"]["/api/pull"] == 1


def test_what_show_tells_binds_the_choice(
    ollama: FakeOllama, ready: Serve, http: Callable[..., httpx.Client]
) -> None:
    models = {
        name: {"source": f"ollama:{name}"}
        for name in ("llama3.2", "nomic-embed-text", "llama3.2-vision:11b")
    }
    house = ready(ollama.url, models=models)
    profiles = house.dispatcher.profiles
    assert profiles["llama3.2"].tools is True
    assert profiles["llama3.2-vision:11b"].tools is False
    assert profiles["llama3.2-vision:11b"].modalities == {"text", "image"}
    assert profiles["llama3.2"].size_b == pytest.approx(3.2127, abs=0.001)
    client = http(house)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    looked: Any = [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]
    told = client.post("/v1/route", json={"messages": looked}).json()
    assert told["model"] == "llama3.2-vision:11b"
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    told = client.post("/v1/route", json={"messages": HI, "tools": [tool]}).json()
    assert told["model"] == "llama3.2"
    refused = {each["model"]: each["why"] for each in told["refused"]}
    assert refused["nomic-embed-text"] == "takes no text"
    assert refused["llama3.2-vision:11b"] == "calls no tools"
    body = json.dumps({"model": "auto", "messages": HI}).encode()
    answer = client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200
    assert answer.json()["model"] in models
