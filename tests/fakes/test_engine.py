"""The fake engine: that it speaks as vLLM does, and misbehaves exactly as told."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest

from tests.fakes.running import FakeEngine

CHAT = "/v1/chat/completions"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(model=["fake", "other"], name="one") as running:
        yield running


@pytest.fixture
def http(engine: FakeEngine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine.url, timeout=5, trust_env=False) as client:
        yield client


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=engine.url + "/v1", api_key="x", max_retries=0) as sdk:
        yield sdk


def ask(tokens: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "model": "fake",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": tokens,
    } | more


def events(http: httpx.Client, body: dict[str, Any], path: str = CHAT) -> list[str]:
    """The data of every event, as far as the stream comes."""
    found = []
    try:
        with http.stream("POST", path, json=body | {"stream": True}) as answer:
            for line in answer.iter_lines():
                found += [line.removeprefix("data: ")] if line.startswith("data: ") else []
    except httpx.RemoteProtocolError:
        found.append("CUT")
    return found


def contents(found: list[str]) -> str:
    deltas = [json.loads(e)["choices"][0]["delta"] for e in found if '"delta"' in e]
    return "".join(delta["content"] for delta in deltas)


def eventually(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 3
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_whole_chat_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**ask(3))
    assert answer.choices[0].message.content == "t0 t1 t2 "
    assert answer.choices[0].finish_reason == "length"
    assert answer.system_fingerprint == "one"
    assert answer.usage.completion_tokens == 3


def test_a_streamed_chat_answer(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**ask(3), stream=True, stream_options=options))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].delta.content for c in chunks[1:4]] == ["t0 ", "t1 ", "t2 "]
    assert chunks[3].choices[0].finish_reason == "length"
    assert (chunks[4].choices, chunks[4].usage.completion_tokens) == ([], 3)
    assert len(chunks) == 5


def test_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="other", prompt="hi", max_tokens=2)
    assert (whole.model, whole.choices[0].text) == ("other", "t0 t1 ")
    chunks = list(client.completions.create(model="fake", prompt="hi", max_tokens=2, stream=True))
    assert [c.choices[0].text for c in chunks] == ["t0 ", "t1 "]


def test_embeddings_and_models(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="fake", input=["a", "b"], encoding_format="float")
    assert [len(each.embedding) for each in answer.data] == [4, 4]
    assert [model.id for model in client.models.list()] == ["fake", "other"]


def test_an_unknown_model_is_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(**(ask() | {"model": "none"}))


def test_messages(http: httpx.Client) -> None:
    whole = http.post("/v1/messages", json=ask(2)).json()
    assert whole["content"][0]["text"] == "t0 t1 "
    assert whole["usage"]["output_tokens"] == 2
    found = [json.loads(event)["type"] for event in events(http, ask(2), "/v1/messages")]
    assert found[:2] == ["message_start", "content_block_start"]
    assert found[2:4] == ["content_block_delta"] * 2
    assert found[4:] == ["content_block_stop", "message_delta", "message_stop"]


def test_the_small_pages(http: httpx.Client) -> None:
    assert http.get("/health").status_code == 200
    assert "fake" in http.get("/version").json()["version"]
    assert 'vllm:num_requests_running{engine="0",model_name="fake"} 0' in http.get("/metrics").text
    assert http.post("/tokenize", json={"prompt": "a b c"}).json()["count"] == 3
    assert http.get("/nothing").status_code == 404
    assert http.post(CHAT, content=b"no json").status_code == 400


def test_the_rate_and_the_delay() -> None:
    with (
        FakeEngine(token_rate=100, first_token_delay_s=0.1) as engine,
        httpx.Client(base_url=engine.url, trust_env=False) as http,
    ):
        started_s = time.monotonic()
        assert len(events(http, ask(21))) == 23
        assert time.monotonic() - started_s == pytest.approx(0.3, abs=0.08)


def test_the_pace_changes_while_it_runs(engine: FakeEngine, http: httpx.Client) -> None:
    engine.pace(token_rate=20, first_token_delay_s=0.1)
    started_s = time.monotonic()
    events(http, ask(3))
    assert time.monotonic() - started_s == pytest.approx(0.2, abs=0.05)


def test_the_last_request_is_remembered(engine: FakeEngine, http: httpx.Client) -> None:
    http.post(CHAT, json=ask(), headers={"X-Request-Id": "r1"})
    last = engine.stats()["last"]
    assert (last["method"], last["path"]) == ("POST", CHAT)
    assert last["headers"]["x-request-id"] == "r1"
    assert json.loads(last["body"]) == ask()


def test_a_client_that_leaves_is_seen_at_once(engine: FakeEngine) -> None:
    engine.behave(mode="stall_after", n=1)
    with (
        httpx.Client(base_url=engine.url, timeout=5, trust_env=False) as http,
        http.stream("POST", CHAT, json=ask(stream=True)) as answer,
    ):
        lines = answer.iter_lines()  # a dropped iterator would close the connection
        assert next(lines).startswith("data: ")
        assert engine.stats()["in_flight"] == 1
    eventually(lambda: engine.stats()["aborted"] == 1)
    stats = engine.stats()
    assert (stats["in_flight"], stats["completed"], stats["faulted"]) == (0, 0, 0)


def test_a_client_that_does_not_read_holds_the_stream_up(engine: FakeEngine) -> None:
    with (
        httpx.Client(base_url=engine.url, timeout=5, trust_env=False) as http,
        http.stream("POST", CHAT, json=ask(200_000, stream=True)) as answer,
    ):
        raw = answer.iter_raw()
        assert next(raw)
        time.sleep(0.2)
        assert engine.stats()["in_flight"] == 1
    eventually(lambda: engine.stats()["aborted"] == 1)


def test_status_fault_with_headers_and_times(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="status", status=429, headers={"Retry-After": "7"}, times=1)
    answer = http.post(CHAT, json=ask())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error"]["code"] == 429
    assert http.post(CHAT, json=ask()).status_code == 200


def test_a_fault_on_one_path_leaves_the_others(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="status", status=503, path="/health")
    assert http.get("/health").status_code == 503
    assert http.post(CHAT, json=ask()).status_code == 200


def test_hang(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="hang")
    with pytest.raises(httpx.ReadTimeout):
        http.post(CHAT, json=ask(), timeout=0.2)
    eventually(lambda: engine.stats()["aborted"] == 1)


def test_slow_first_token(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="slow_first_token", seconds=0.2, times=1)
    started_s = time.monotonic()
    assert contents(events(http, ask())) == "t0 t1 t2 "
    assert time.monotonic() - started_s > 0.19


def test_cut_before_the_first_byte(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="cut_before_first_byte", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(CHAT, json=ask())
    assert engine.stats()["faulted"] == 1


@pytest.mark.parametrize(
    ("behaviour", "text", "end"),
    [
        ({"mode": "cut_after_headers"}, "", "CUT"),
        ({"mode": "cut_stream", "n": 2}, "t0 t1 ", "CUT"),
        ({"mode": "error_event_first"}, "", "[DONE]"),
        ({"mode": "error_event_after", "n": 1}, "t0 ", "[DONE]"),
    ],
)
def test_broken_streams(
    engine: FakeEngine, http: httpx.Client, behaviour: dict[str, Any], text: str, end: str
) -> None:
    engine.behave(**behaviour, times=1)
    found = events(http, ask())
    assert (contents(found), found[-1]) == (text, end)
    assert any("EngineCore" in event for event in found) == (end == "[DONE]")
    assert contents(events(http, ask())) == "t0 t1 t2 "


def test_a_dead_engine_tells_anthropics_clients_in_their_way(
    engine: FakeEngine, http: httpx.Client
) -> None:
    engine.behave(mode="error_event_first", times=1)
    answer = http.post("/v1/messages", json=ask(stream=True))
    assert answer.text.startswith('event: error\ndata: {"type":"error","error":{')


def test_reset_takes_everything_back(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="status", path=CHAT)
    engine.pace(token_rate=1)
    assert http.post(CHAT, json=ask()).status_code == 500
    engine.reset()
    assert (engine.stats()["requests"], engine.stats()["last"]) == (0, {})
    assert contents(events(http, ask())) == "t0 t1 t2 "
    assert engine.stats()["completed"] == 1


def test_broken_whole_answers(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="error_event_first", times=1)
    assert http.post(CHAT, json=ask()).status_code == 500
    engine.behave(mode="cut_stream", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(CHAT, json=ask())


def test_exit(engine: FakeEngine, http: httpx.Client) -> None:
    engine.behave(mode="exit", status=3)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(CHAT, json=ask())
    assert engine.process.wait(timeout=3) == 3


def test_an_unknown_mode_is_refused(engine: FakeEngine, http: httpx.Client) -> None:
    assert http.post("/fake/behaviour", json={"mode": "dance"}).status_code == 400
    assert http.post("/fake/behaviour", json={"mood": "ok"}).status_code == 400


def test_it_ends_with_its_parent(engine: FakeEngine) -> None:
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    engine.process.wait(timeout=3)
