"""What sends a request to another model, brought about in real engines: an engine's own 500, a
server that is full, memory that is not there, a model that does not load any more, a breaker.

The servers are llama.cpp's, which start in seconds. The tests are in the order of the house's life.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import openai
import pytest

from common.config import Config
from engines import gguf_sources
from tests.gateway.far import FarHouse
from tests.real.faulty import (
    MESSAGES,
    Back,
    ask,
    check_fallback,
    client_of,
    config,
    engine_of,
    has_failed,
    kill_until_it_fails,
    refused,
    sample,
)
from tests.real.scarcity import Scarcity
from tests.real.serving import KEY, RunningServer, wait_for

pytestmark = pytest.mark.engine

FROZEN = "small-0"
CLOSED, HALF_OPEN, OPEN = 0, 1, 2
TOOLS: Any = [
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
_TOO_LITTLE_BYTES = 300 << 20  # the KV cache of `scarce` alone has 360 MiB


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Back]:
    folder = tmp_path_factory.mktemp("faults")
    scarcity = Scarcity(folder / "scarcity")
    file = folder / "model.gguf"
    shutil.copyfile(gguf_sources.resolve("small", "embedded:smollm2-gguf", print), file)
    with RunningServer(config(file), folder, variables=scarcity.variables) as server:
        yield Back(server.wait_ready(), scarcity, file)


@pytest.fixture(scope="module")
def server(back: Back) -> RunningServer:
    return back.server


@pytest.fixture(scope="module")
def front(back: Back, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarHouse]:
    """A gateway that knows models of the other one as a provider's, each name good for one
    refusal: after it the provider is left alone for as long as it has asked."""
    key = tmp_path_factory.mktemp("front") / "key"
    key.write_text(KEY)

    def remote(model: str) -> dict[str, Any]:
        there = {"model": model, "api_key_file": str(key)}
        return {"engine": "openai", "source": f"{back.server.url}/v1", "remote": there}

    sections = {
        "router": {"fallbacks": {"full": ["spare"], "full-streamed": ["spare"], "gone": ["small"]}},
        "models": {
            **{name: remote("small") for name in ("full", "full-streamed", "full-alone", "small")},
            **{name: remote("spare") for name in ("spare", "gone")},
        },
    }
    house = FarHouse(Config.model_validate(sections))
    house.start()
    yield house
    house.stop()


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with client_of(server.url) as client:
        yield client


@pytest.fixture
def far_client(front: FarHouse) -> Iterator[openai.OpenAI]:
    with client_of(front.url) as client:
        yield client


# The breaker


def state_of(client: openai.OpenAI) -> float:
    return sample(client, "roundhouse_breaker_state", replica=FROZEN)


def answered_by(client: openai.OpenAI) -> str:
    return str(ask(client, "small", stream=True, max_tokens=1)["x-roundhouse-replica"])


def test_a_frozen_engine_is_left_alone_and_tried_again(
    server: RunningServer, client: openai.OpenAI
) -> None:
    assert state_of(client) == CLOSED
    engine = engine_of(server, FROZEN)
    engine.suspend()
    try:
        # Every second request is first sent to the frozen one, waits for its time, and is answered.
        assert {answered_by(client) for _ in range(4)} == {"small-1"}
        assert state_of(client) == OPEN
        wait_for(lambda: state_of(client) == HALF_OPEN, 10, "half-open")
        assert {answered_by(client) for _ in range(2)} == {"small-1"}  # the probe fails
        assert state_of(client) == OPEN
    finally:
        engine.resume()
    wait_for(lambda: FROZEN in {answered_by(client) for _ in range(2)}, 15, "a good probe")
    wait_for(lambda: answered_by(client) and state_of(client) == CLOSED, 15, "closed")
    assert {answered_by(client) for _ in range(4)} == {"small-0", "small-1"}


# An engine's own 500


@pytest.mark.parametrize("stream", [False, True])
def test_what_one_engine_fails_at_another_model_does(client: openai.OpenAI, stream: bool) -> None:
    """llama.cpp without its template engine answers a request with tools by a 500."""
    headers = check_fallback(client, "plain", "spare", "5xx", stream=stream, tools=TOOLS)
    assert headers["x-roundhouse-attempts"] == "2"


def test_a_request_at_which_all_fail_asks_each_of_them_once(client: openai.OpenAI) -> None:
    """llama.cpp answers a picture that the model cannot see with a 500 too; it is well itself."""
    picture = [{"type": "image_url", "image_url": {"url": PIXEL}}]
    labels = {"model": "small", "reason": "500"}
    before = sample(client, "roundhouse_retries_total", **labels)
    for told in refused(client, "small", messages=[{"role": "user", "content": picture}]):
        assert (told.status_code, told.code) == (502, "engine_failed")
        assert "image input is not supported" in told.message
    assert sample(client, "roundhouse_retries_total", **labels) == before + 2
    assert state_of(client) == CLOSED


# A server that is full


@pytest.fixture
def full(server: RunningServer) -> Iterator[None]:
    """Both servers of `small` are at work and come to no end."""
    body = {"model": "small", "messages": MESSAGES, "max_tokens": 400, "stream": True}
    engines = [engine_of(server, replica) for replica in ("small-0", "small-1")]
    with ExitStack() as stack:
        http = stack.enter_context(
            httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=60, trust_env=False)
        )
        streams = []  # an iterator that is let go of would end its stream
        for _ in engines:
            url = f"{server.url}/v1/chat/completions"
            answer = stack.enter_context(http.stream("POST", url, json=body | {"ignore_eos": True}))
            streams.append(answer.iter_lines())
            assert next(streams[-1]).startswith("data: ")
        for engine in engines:
            engine.suspend()
            stack.callback(engine.resume)
        yield


@pytest.mark.usefixtures("full")
def test_a_full_server_sends_requests_to_another_model(
    client: openai.OpenAI, far_client: openai.OpenAI
) -> None:
    for told in refused(client, "small"):
        assert isinstance(told, openai.RateLimitError)
        assert (told.code, told.response.headers["retry-after"]) == ("queue_full", "5")
    check_fallback(far_client, "full", "spare", "overloaded", stream=False)
    check_fallback(far_client, "full-streamed", "spare", "overloaded", stream=True)


@pytest.mark.usefixtures("full")
def test_without_another_model_its_refusal_is_told(far_client: openai.OpenAI) -> None:
    for told in refused(far_client, "full-alone"):
        assert isinstance(told, openai.RateLimitError)
        assert 1 <= int(told.response.headers["retry-after"]) <= 5


# Memory that is not there


@pytest.fixture(scope="module")
def out_of_memory(back: Back) -> dict[str, Any]:
    """The row of `scarce`, which found memory for its KV cache once and does not again."""
    back.scarcity.begin(_TOO_LITTLE_BYTES)
    return kill_until_it_fails(back.server, "scarce-0")


def test_a_model_that_runs_out_of_memory(
    out_of_memory: dict[str, Any], server: RunningServer, client: openai.OpenAI
) -> None:
    for stream in (False, True):
        check_fallback(client, "scarce", "spare", "out_of_memory", stream=stream)
    assert out_of_memory["error_code"] == "out_of_memory"
    assert "failed to allocate buffer of size 377487360" in out_of_memory["error"]
    assert "failed to allocate" in server.run("ps").stdout


# A model that does not load any more


@pytest.fixture(scope="module")
def not_loaded(out_of_memory: dict[str, Any], back: Back) -> dict[str, Any]:
    """The row of `plain`, whose file holds something else now."""
    back.file.unlink()  # `spare` goes on with what it has mapped
    back.file.write_bytes(b"no model")
    return kill_until_it_fails(back.server, "plain-0")


def test_a_model_that_does_not_load_any_more(
    not_loaded: dict[str, Any], client: openai.OpenAI
) -> None:
    for stream in (False, True):
        check_fallback(client, "plain", "spare", "load_failed", stream=stream)
    assert not_loaded["error_code"] == "engine_load_failed"
    assert "invalid magic" in not_loaded["error"]


@pytest.fixture(scope="module")
def no_stand_in(not_loaded: dict[str, Any], back: Back) -> None:
    kill_until_it_fails(back.server, "spare-0")


@pytest.mark.usefixtures("no_stand_in")
def test_when_nobody_can_stand_in_the_first_ones_reason_is_told(
    back: Back, client: openai.OpenAI
) -> None:
    # It may just be tried again.
    wait_for(lambda: has_failed(back.server, "scarce-0"), 60, "failed start")
    for told in refused(client, "scarce"):
        assert (told.status_code, told.code) == (503, "out_of_memory")
        assert "failed to allocate buffer of size 377487360" in told.message
        assert int(told.response.headers["retry-after"]) > 0


@pytest.mark.usefixtures("no_stand_in")
def test_a_503_of_another_server_sends_requests_to_another_model(
    client: openai.OpenAI, far_client: openai.OpenAI
) -> None:
    for told in refused(client, "spare"):
        assert (told.status_code, told.code) == (503, "engine_load_failed")
    check_fallback(far_client, "gone", "small", "overloaded", stream=False)
