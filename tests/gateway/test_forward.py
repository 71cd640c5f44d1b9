"""The way there and back when all goes well: the engine's own bytes, and who sent them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

import httpx2 as httpx
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, ask, contents, eventually

Http = Callable[..., httpx.Client]
PATHS = (CHAT, "/v1/completions", MESSAGES)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_the_bytes_are_the_engines_own(
    build: Build, one: FakeEngine, http: Http, path: str, stream: bool
) -> None:
    body = ask(500, stream=stream, stream_options={"include_usage": True}, prompt="hi")
    direct = http(one).post(path, json=body)
    routed = http(build(one)).post(path, json=body)
    assert direct.status_code == routed.status_code == 200
    assert len(routed.content) > 1000
    assert routed.content == direct.content
    assert routed.headers["content-type"] == direct.headers["content-type"]


def test_an_engines_refusal_passes_untouched(build: Build, one: FakeEngine, http: Http) -> None:
    house = build(models={"unserved": {"source": one.url}})
    body = ask() | {"model": "unserved"}
    direct, routed = http(one).post(CHAT, json=body), http(house).post(CHAT, json=body)
    assert direct.status_code == routed.status_code == 404
    assert routed.content == direct.content
    assert b"The model `unserved` does not exist." in routed.content
    assert routed.headers["x-roundhouse-attempts"] == "1"


def test_the_request_arrives_as_it_was_sent(build: Build, one: FakeEngine, http: Http) -> None:
    body = (
        '{ "messages" :[{"role":"user","content":"grüße \\u00fc"}],"model":"m" ,"x":1e400}'.encode()
    )
    headers = {"content-type": "application/json; charset=utf-8", "x-other": "kept"}
    http(build(one)).post(CHAT, content=body, headers=headers)
    last = one.stats()["last"]
    assert last["body"].encode() == body
    assert last["path"] == CHAT
    assert last["headers"]["content-length"] == str(len(body))
    assert last["headers"]["content-type"] == "application/json; charset=utf-8"
    assert last["headers"]["x-other"] == "kept"
    assert last["headers"]["host"] == one.url.removeprefix("http://")


def test_headers_of_one_connection_stay_on_it(build: Build, one: FakeEngine, http: Http) -> None:
    headers = {"cookie": "a=b", "te": "trailers", "connection": "keep-alive", "expect": "no"}
    http(build(one)).post(CHAT, json=ask(), headers=headers)
    sent = one.stats()["last"]["headers"]
    assert not {"cookie", "te", "expect", "accept-encoding"} & set(sent)


def test_a_request_id_is_kept(build: Build, one: FakeEngine, http: Http) -> None:
    answer = http(build(one)).post(CHAT, json=ask(), headers={"x-request-id": "mine/1:2"})
    assert answer.headers.get_list("x-request-id") == ["mine/1:2"]
    assert one.stats()["last"]["headers"]["x-request-id"] == "mine/1:2"


@pytest.mark.parametrize("bad", ["", "two words", "x" * 129, b"\xe9"])
def test_a_bad_request_id_is_replaced(
    build: Build, one: FakeEngine, http: Http, bad: str | bytes
) -> None:
    answer = http(build(one)).post(CHAT, json=ask(), headers=[("x-request-id", bad)])
    given = answer.headers["x-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{32}", given)
    assert one.stats()["last"]["headers"]["x-request-id"] == given


def test_the_answer_tells_its_route(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    house = build(one, two, model={"aliases": ["gpt-4o-mini"]})
    seen = []
    for name in ("m", "gpt-4o-mini"):
        answer = http(house).post(CHAT, json=ask() | {"model": name, "stream": True})
        headers = answer.headers
        assert headers["x-roundhouse-model"] == "m"
        assert headers["x-roundhouse-attempts"] == "1"
        assert 0 < float(headers["x-roundhouse-overhead-ms"]) < 10_000
        who = json.loads(answer.text.split("\n")[0][6:])["system_fingerprint"]
        seen.append((headers["x-roundhouse-route"], headers["x-roundhouse-replica"], who))
    assert seen == [("by name", "m-0", "one"), ("alias of m", "m-1", "two")]


def test_requests_go_to_the_less_loaded_replica(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    one.behave(mode="stall_after", n=1)
    client = http(build(one, two))
    with client.stream("POST", CHAT, json=ask(stream=True)) as stalled:
        assert stalled.headers["x-roundhouse-replica"] == "m-0"
        for _ in range(3):
            answer = client.post(CHAT, json=ask())
            assert answer.headers["x-roundhouse-replica"] == "m-1"


def test_a_model_gets_only_its_own_requests(
    build: Build, one: FakeEngine, two: FakeEngine, http: Http
) -> None:
    client = http(build(one, models={"other": {"source": two.url}}))
    for name, who in [("m", "one"), ("other", "two"), ("other", "two"), ("m", "one")]:
        answer = client.post(CHAT, json=ask() | {"model": name}).json()
        assert (answer["model"], answer["system_fingerprint"]) == (name, who)


@pytest.mark.parametrize("path", ["/tokenize", "/v1/embeddings", "/v1/some/future/path"])
def test_other_paths_of_the_engines_are_served_too(
    build: Build, one: FakeEngine, http: Http, path: str
) -> None:
    body = {"model": "m", "prompt": "a b", "input": "a"}
    direct, routed = http(one).post(path, json=body), http(build(one)).post(path, json=body)
    assert (routed.status_code, routed.content) == (direct.status_code, direct.content)


def test_the_query_goes_along(build: Build, one: FakeEngine, http: Http) -> None:
    """A GET has no body to name its model in."""
    house = build(one, models={"other": {"source": one.url}})
    answer = http(house).get("/v1/responses/resp_1?model=m&a=%20b")
    assert answer.headers["x-roundhouse-model"] == "m"
    refused = http(house).get("/v1/responses/resp_1")
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "model is missing; one of: m, other"


def test_a_long_stream_to_a_slow_reader_is_whole(build: Build, one: FakeEngine, http: Http) -> None:
    body = ask(20_000, stream=True)
    expected = http(one).post(CHAT, json=body).content
    received = b""
    with http(build(one)).stream("POST", CHAT, json=body) as answer:
        for i, part in enumerate(answer.iter_raw()):
            received += part
            if i == 0:  # long enough for every buffer on the way to fill up
                eventually(lambda: one.stats()["in_flight"] == 1)
    assert received == expected


def test_many_streams_at_once_do_not_mix(build: Build, engines: list[FakeEngine]) -> None:
    house = build(*engines)

    async def stream(client: httpx.AsyncClient, tokens: int) -> None:
        answer = await client.post(CHAT, json=ask(tokens, stream=True))
        assert contents(answer.text) == "".join(f"t{i} " for i in range(tokens))
        assert answer.text.endswith("data: [DONE]\n\n")

    async def work() -> None:
        async with httpx.AsyncClient(base_url=house.url, timeout=30, trust_env=False) as client:
            await asyncio.gather(*(stream(client, tokens) for tokens in range(1, 61)))

    asyncio.run(work())
    assert sum(engine.stats()["completed"] for engine in engines) == 60


def test_a_finished_answer_is_no_hang_up(build: Build, one: FakeEngine, http: Http) -> None:
    client = http(build(one))
    for stream in (True, False):
        client.post(CHAT, json=ask(stream=stream))
    assert "roundhouse_client_disconnects_total{" not in client.get("/metrics").text
    assert one.stats()["aborted"] == 0


def test_connections_to_the_engine_are_used_again(
    build: Build, one: FakeEngine, http: Http
) -> None:
    client = http(build(one))
    for i in range(10):
        client.post(CHAT, json=ask(stream=bool(i % 2)))
    # The one that asks for the stats is counted too.
    assert one.stats()["connections"] <= 2
