"""HTTP as engines may speak it, well and badly."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable

import httpx2 as httpx
import pytest

from gateway.upstream import Origin, Pool
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, House, ask
from tests.gateway.raw import CHUNKED, RawEngine, chunk, raw_engine

Http = Callable[..., httpx.Client]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
BODY = b'{"choices": []}'
SIZED = OK + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
STREAM = b"data: 1\n\ndata: 2\n\n"


def over(build: Build, *engines: RawEngine) -> House:
    return build(models={"m": {"source": [engine.url for engine in engines]}})


@pytest.mark.parametrize(
    "parts",
    [
        (SIZED,),
        tuple(SIZED[i : i + 1] for i in range(len(SIZED))),
        (OK + b"transfer-encoding: chunked\r\n\r\n", chunk(BODY[:5]), chunk(BODY[5:]), chunk(b"")),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\nf;x=1\r\n" + BODY + b"\r\n0\r\nx-t: 1\r\n\r\n",),
        (OK + b"connection: close\r\n\r\n", BODY),
        (b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n", BODY),
        (b"HTTP/1.1 100 Continue\r\n\r\n", SIZED),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + SIZED,),
        (OK.replace(b"content-type", b"Content-TYPE") + b"Content-LENGTH: 15\r\n\r\n" + BODY,),
    ],
    ids=[
        "length",
        "byte by byte",
        "chunks",
        "chunks with trimmings",
        "until close",
        "http 1.0",
        "100 first",
        "103 first",
        "capitals",
    ],
)
def test_whole_answers_in_every_form(build: Build, http: Http, parts: tuple[bytes, ...]) -> None:
    with raw_engine(*parts) as raw:
        answer = http(over(build, raw)).post(CHAT, json=ask())
    assert (answer.status_code, answer.content) == (200, BODY)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get_list("content-length") == ["15"]
    assert not {"x-t", "link", "transfer-encoding"} & set(answer.headers)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream\r\nconnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 18\r\n\r\n",
    ],
    ids=["until close", "capitals", "http 1.0", "length"],
)
def test_streams_in_every_form(build: Build, http: Http, head: bytes) -> None:
    with raw_engine(head, STREAM[:9], STREAM[9:]) as raw:
        answer = http(over(build, raw)).post(CHAT, json=ask(stream=True))
    assert (answer.status_code, answer.content) == (200, STREAM)
    assert answer.headers["x-roundhouse-replica"] == "m-0"


def test_an_event_stream_that_refuses_is_a_whole_answer(build: Build, http: Http) -> None:
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/event-stream\r\n"
    with raw_engine(head + b"content-length: 18\r\n\r\n" + STREAM) as raw:
        answer = http(over(build, raw)).post(CHAT, json=ask(stream=True))
    assert (answer.status_code, answer.content) == (400, STREAM)


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(build: Build, http: Http, status: int) -> None:
    head = b"HTTP/1.1 %d Status\r\nx-kept: 1\r\n\r\n" % status
    with raw_engine(head) as raw:
        answer = http(over(build, raw)).post(CHAT, json=ask())
    assert (answer.status_code, answer.content, answer.headers["x-kept"]) == (status, b"", "1")


def test_every_header_comes_back_but_those_of_the_connection(build: Build, http: Http) -> None:
    more = (
        b"set-cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: \xe9\r\nkeep-alive: 5\r\nserver: fake\r\n"
        b"date: today\r\nx-request-id: theirs\r\nx-empty:\r\n"
    )
    with raw_engine(OK + more + b"content-length: 15\r\n\r\n" + BODY) as raw:
        headers = http(over(build, raw)).post(CHAT, json=ask()).headers
    assert headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert (b"x-odd", b"\xe9") in headers.raw
    assert headers["x-empty"] == ""
    assert headers["x-request-id"].startswith("req-")
    assert not {"keep-alive", "server", "date"} & set(headers)


@pytest.mark.parametrize(
    "parts",
    [
        (OK + b"content-length: 99\r\n\r\n" + BODY,),
        (OK + b"transfer-encoding: chunked\r\n\r\n" + chunk(BODY),),
        (OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",),
        (OK,),
        (b"HTTP/1.1 two hundred\r\n\r\n",),
        (b"",),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
    ],
    ids=[
        "short",
        "no last chunk",
        "bad chunk",
        "half a head",
        "no status",
        "no",
        "101",
        "only 100",
    ],
)
def test_a_broken_answer_is_a_failure_and_had_from_another(
    build: Build, two: FakeEngine, http: Http, parts: tuple[bytes, ...]
) -> None:
    with raw_engine(*parts) as raw:
        alone = http(over(build, raw)).post(CHAT, json=ask())
        assert (alone.status_code, len(raw.seen)) == (502, 2)
        assert alone.json()["error"]["code"] == "engine_disconnected"
        house = build(models={"m": {"source": [raw.url, two.url]}})
        assert http(house).post(CHAT, json=ask()).json()["system_fingerprint"] == "two"


def test_a_connection_is_kept_for_the_next_request(build: Build, http: Http) -> None:
    with raw_engine(SIZED, requests_each=20) as raw:
        client = http(over(build, raw))
        assert [client.post(CHAT, json=ask()).content for _ in range(5)] == [BODY] * 5
        client.close()
        assert (len(raw.connections), len(raw.seen)) == (1, 5)


@pytest.mark.parametrize(
    "parts",
    [
        (SIZED.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1),),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"),),
        (OK + b"connection: close\r\n\r\n" + BODY,),
    ],
    ids=["close", "http 1.0", "until close"],
)
def test_a_connection_that_must_not_be_kept_is_not(
    build: Build, http: Http, parts: tuple[bytes, ...]
) -> None:
    with raw_engine(*parts) as raw:
        client = http(over(build, raw))
        answers = [client.post(CHAT, json=ask()) for _ in range(3)]
        assert [answer.headers["x-roundhouse-attempts"] for answer in answers] == ["1"] * 3
        assert len(raw.connections) == 3


def test_an_engine_that_closes_kept_connections_costs_no_request(build: Build, http: Http) -> None:
    """It promises keep-alive and closes all the same, as one that has been restarted did."""
    with raw_engine(SIZED, requests_each=1) as raw:
        client = http(over(build, raw))
        for _ in range(10):
            answer = client.post(CHAT, json=ask())
            assert (answer.status_code, answer.content) == (200, BODY)


@pytest.mark.parametrize("parts", [(SIZED,), (CHUNKED, chunk(STREAM), chunk(b""))])
def test_an_answer_left_unread_is_nobody_elses(parts: tuple[bytes, ...]) -> None:
    """A client may hang up when its whole answer is here already but for the sending."""

    async def work(raw: RawEngine) -> None:
        pool, origin = Pool(), Origin.of(raw.url)
        for _ in range(3):
            connection = await pool.take(origin)
            connection.send(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"")
            await connection.head()
            while not connection._complete:
                await asyncio.sleep(0.001)
            pool.give_back(origin, connection)
        connection = await pool.take(origin)
        connection.send(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"")
        await connection.head()
        assert await connection.read_all() in (BODY, STREAM)
        pool.give_back(origin, connection)
        pool.close()

    kept = tuple(part.replace(b"connection: close\r\n", b"") for part in parts)
    with raw_engine(*kept, requests_each=9) as raw:
        asyncio.run(work(raw))


def test_words_out_of_turn_end_a_kept_connection(build: Build, http: Http) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 4\r\n\r\nlate"
    with raw_engine(SIZED + late, requests_each=9) as raw:
        client = http(over(build, raw))
        answers = [client.post(CHAT, json=ask()) for _ in range(3)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, BODY)] * 3


def test_a_stream_broken_off_leaves_nothing_for_the_next(
    build: Build, one: FakeEngine, http: Http
) -> None:
    client = http(build(one))
    for tokens in (1000, 2000):
        with client.stream("POST", CHAT, json=ask(tokens, stream=True)) as answer:
            next(answer.iter_raw())
        whole = client.post(CHAT, json=ask(2)).json()
        assert whole["choices"][0]["message"]["content"] == "t0 t1 "


@pytest.mark.parametrize("n_bytes", [0, 65_535, 65_536, 5_000_000])
def test_bodies_of_any_size_arrive_whole(
    build: Build, one: FakeEngine, http: Http, n_bytes: int
) -> None:
    padding = "x" * n_bytes
    answer = http(build(one)).post(CHAT, json=ask() | {"user": padding})
    assert answer.status_code == 200
    assert json.loads(one.stats()["last"]["body"])["user"] == padding


def test_a_large_whole_answer(build: Build, one: FakeEngine, http: Http) -> None:
    expected = http(one).post(CHAT, json=ask(300_000)).content
    assert len(expected) > 2_000_000
    assert http(build(one)).post(CHAT, json=ask(300_000)).content == expected


def test_the_request_line_cannot_be_broken(build: Build, http: Http) -> None:
    with raw_engine(SIZED, requests_each=2) as raw:
        house = over(build, raw)
        path = "/v1/a%0d%0ax-evil:%201%20b?q=%0d%0ax-evil:2&model=m"
        with socket.create_connection(("127.0.0.1", house.port), timeout=20) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        head = raw.seen[0].split(b"\r\n")
    assert head[0] == f"GET {path} HTTP/1.1".encode()
    assert not [line for line in head[1:] if line.startswith(b"x-evil")]


def test_an_engine_under_a_path_is_asked_there(build: Build, http: Http) -> None:
    with raw_engine(SIZED) as raw:
        house = build(models={"m": {"source": "http://127.0.0.1:1/unused"}})
        house.dispatcher.replicas["m-0"].url = f"{raw.url}/engines/a/"
        assert http(house).post(f"{CHAT}?a=b", json=ask()).content == BODY
        assert raw.seen[0].startswith(f"POST /engines/a{CHAT}?a=b HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://127.0.0.1:8000", Origin("127.0.0.1", 8000, False, ""), b"127.0.0.1:8000"),
        ("http://engine", Origin("engine", 80, False, ""), b"engine:80"),
        ("https://api.x.com/a/", Origin("api.x.com", 443, True, "/a"), b"api.x.com:443"),
        ("http://[::1]:9/", Origin("::1", 9, False, ""), b"[::1]:9"),
    ],
)
def test_origins(url: str, origin: Origin, host: bytes) -> None:
    assert Origin.of(url) == origin
    assert origin.host_header == host


def test_tls_that_is_not_trusted_is_unreachable(build: Build, http: Http) -> None:
    with raw_engine(requests_each=0) as raw:
        house = build(models={"m": {"source": raw.url.replace("http:", "https:")}})
        answer = http(house).post(CHAT, json=ask())
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "engine_unreachable")


def test_a_name_that_does_not_resolve_is_unreachable(build: Build, http: Http) -> None:
    house = build(models={"m": {"source": "http://no-such-host.invalid:1"}})
    answer = http(house).post(CHAT, json=ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unreachable")


def test_a_stream_of_chunks_without_end_is_broken_off(build: Build, http: Http) -> None:
    with raw_engine(CHUNKED, chunk(b"data: 1\n\n"), b"not a chunk size\r\n") as raw:
        answer = http(over(build, raw)).post(CHAT, json=ask(stream=True))
    assert answer.text.startswith("data: 1\n\ndata: ")
    assert "engine_disconnected" in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
