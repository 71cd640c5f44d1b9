"""Requests at the door: names, bodies, sizes, forms, and the shape of every refusal."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest

from common.config import Config
from gateway.app import Gateway, read_body
from router.dispatch import Dispatcher
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask

Http = Callable[..., httpx.Client]
MIB = 1 << 20


@pytest.fixture
def house(build: Build, one: FakeEngine, two: FakeEngine) -> House:
    models = {"org/model": {"source": two.url}}
    return build(one, model={"aliases": ["gpt-4o-mini"]}, models=models, server={"max_body_mib": 1})


def error_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert list(error) == ["message", "type", "param", "code", "src"]
    return error


# The model's name


def test_an_unknown_model_is_told_with_near_names(house: House, http: Http) -> None:
    answer = http(house).post(CHAT, json=ask() | {"model": "gpt-4o"})
    assert answer.status_code == 404
    assert error_of(answer) == {
        "message": "no model 'gpt-4o'; did you mean 'gpt-4o-mini'?",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
        "src": "router",
    }


@pytest.mark.parametrize("model", [None, ""])
def test_a_missing_model_is_told(house: House, http: Http, model: str | None) -> None:
    answer = http(house).post(CHAT, json=ask() | {"model": model})
    error = error_of(answer)
    assert (answer.status_code, error["param"]) == (400, "model")
    assert error["message"] == "model is missing; one of: m, org/model"


def test_the_only_model_needs_no_name(build: Build, one: FakeEngine, http: Http) -> None:
    body = ask()
    del body["model"]
    answer = http(build(one)).post(CHAT, json=body)
    assert (answer.status_code, answer.headers["x-roundhouse-route"]) == (200, "only model")
    assert json.loads(one.stats()["last"]["body"]) == body


# The body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "request body is not valid JSON: "),
        (b"no json", "request body is not valid JSON: "),
        (b'{"model": "m"} x', "request body is not valid JSON: "),
        (b'{"model": "\xff"}', "request body is not valid JSON: "),
        (b'{"x": [[[}', "request body is not valid JSON: "),
        (b"[]", "request body: "),
        (b'"m"', "request body: "),
        (b'{"model": 7}', "request body: Expected `str | null`, got `int` - at `$.model`"),
        (b'{"model": ["m"]}', "request body: Expected `str | null`, got `array` - at `$.model`"),
        (b'{"model": "m", "stream": "yes"}', "request body: Expected `bool | null`, got `str`"),
    ],
)
def test_a_body_that_is_not_right_is_refused(
    house: House, one: FakeEngine, http: Http, body: bytes, said: str
) -> None:
    answer = http(house).post(CHAT, content=body, headers={"content-type": "application/json"})
    error = error_of(answer)
    assert (answer.status_code, error["type"], error["src"]) == (
        400,
        "invalid_request_error",
        "router",
    )
    assert error["message"].startswith(said)
    assert one.stats()["requests"] == 0


def test_a_body_nested_too_deep_is_refused(house: House, http: Http) -> None:
    body = b'{"model": "m", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = http(house).post(CHAT, content=body)
    assert answer.status_code == 400
    assert "nested" in error_of(answer)["message"]


def test_no_content_type_is_taken_for_json(house: House, http: Http) -> None:
    answer = http(house).post(CHAT, content=json.dumps(ask()).encode())
    assert answer.status_code == 200


def pieces(total: int) -> Iterator[bytes]:
    for start in range(0, total, 60_000):
        yield b" " * min(60_000, total - start)


def test_a_body_announced_too_large_is_refused_unread(house: House) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    connection.putrequest("POST", CHAT)
    connection.putheader("content-length", str(MIB + 1))
    connection.endheaders()
    answer = connection.getresponse()
    error = json.load(answer)["error"]
    assert (answer.status, error["code"]) == (413, "request_too_large")
    assert error["message"] == "the request body is larger than 1 MiB (server.max_body_mib)"
    connection.close()


def test_a_body_that_grows_too_large_is_refused(house: House, one: FakeEngine, http: Http) -> None:
    answer = http(house).post(CHAT, content=pieces(MIB + 1))
    assert (answer.status_code, error_of(answer)["code"]) == (413, "request_too_large")
    assert one.stats()["requests"] == 0


@pytest.mark.parametrize("chunked", [True, False])
def test_the_largest_body_allowed_passes(
    house: House, one: FakeEngine, http: Http, chunked: bool
) -> None:
    text = json.dumps(ask()).encode()
    body = text + b" " * (MIB - len(text))
    answer = http(house).post(CHAT, content=iter([body[:9], body[9:]]) if chunked else body)
    assert answer.status_code == 200
    assert len(one.stats()["last"]["body"]) == MIB


def test_a_body_in_one_piece_is_measured_too() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"12345", "more_body": False}

    async def work() -> None:
        assert await read_body(receive, {}, 5) == b"12345"
        with pytest.raises(Exception, match="larger than"):
            await read_body(receive, {}, 4)

    asyncio.run(work())


def test_a_client_that_leaves_within_its_body_is_no_crash(house: House, http: Http) -> None:
    connection = http_connection(house)
    connection.putrequest("POST", CHAT)
    connection.putheader("content-length", "1000")
    connection.endheaders()
    connection.send(b'{"model": ')
    connection.close()
    assert http(house).post(CHAT, json=ask()).status_code == 200


def http_connection(house: House) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)


# Forms


def test_a_form_names_its_model(house: House, http: Http) -> None:
    """The engine knows nothing of audio, but its own refusal shows which one was asked."""
    client = http(house)
    for model in ("m", "org/model"):
        answer = client.post(
            "/v1/audio/transcriptions",
            data={"language": "en", "model": model},
            files={"file": ("a.wav", b"RIFF\x00\xff" * 5000, "audio/wav")},
        )
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")
        assert answer.headers["x-roundhouse-model"] == model


def test_a_file_is_no_field(house: House, http: Http) -> None:
    files = {"model": ("model", b"m", "text/plain"), "file": ("a.wav", b"x", "audio/wav")}
    answer = http(house).post("/v1/audio/transcriptions", files=files)
    assert answer.status_code == 400
    assert error_of(answer)["message"] == "model is missing; one of: m, org/model"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary here"),
    ],
    ids=["no boundary named", "no boundary found"],
)
def test_a_form_that_is_not_right_is_refused(
    house: House, http: Http, content_type: str, body: bytes
) -> None:
    answer = http(house).post(
        "/v1/audio/transcriptions", content=body, headers={"content-type": content_type}
    )
    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith("request body is not a valid form")


def test_a_name_that_is_not_text_is_an_unknown_name(house: House, http: Http) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--x--\r\n'
    answer = http(house).post(
        "/v1/audio/transcriptions",
        content=body,
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 404
    assert error_of(answer)["message"].startswith("no model '\ufffd'; there are: ")


def test_a_form_in_capitals_is_a_form(house: House, http: Http) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    answer = http(house).post(
        "/v1/audio/transcriptions",
        content=body,
        headers={"content-type": "Multipart/Form-Data; boundary=x"},
    )
    assert answer.headers["x-roundhouse-model"] == "m"


# Other surfaces


def test_anthropics_clients_get_anthropics_errors(house: House, http: Http) -> None:
    client = http(house)
    unknown = client.post(MESSAGES, json=ask() | {"model": "claude"})
    broken = client.post(f"{MESSAGES}/count_tokens", content=b"{")
    assert (unknown.status_code, broken.status_code) == (404, 400)
    for answer, kind in ((unknown, "not_found_error"), (broken, "invalid_request_error")):
        body = answer.json()
        assert (body["type"], body["error"]["type"]) == ("error", kind)
        assert body["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/nothing"),
        ("POST", "/health"),
        ("GET", "/tokenize"),
        ("POST", "/metrics"),
        ("DELETE", "/v1/models/m"),
        ("POST", "/admin/replicas"),
        ("POST", "/fake/behaviour"),
        ("GET", "/fake/stats"),
        ("POST", "/sleep"),
    ],
)
def test_a_path_that_is_not_there_is_told(house: House, http: Http, method: str, path: str) -> None:
    answer = http(house).request(method, path)
    assert answer.status_code in {404, 405}
    error = answer.json()["error"]
    assert (error["code"], error["src"]) == ("route_not_found", "router")
    assert error["message"].startswith(f"{method} {path}: ")


def test_a_websocket_is_closed() -> None:
    config = Config.model_validate({"models": {"m": {"source": "a/b"}}})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def work() -> None:
        gateway = Gateway(config, Dispatcher(config, []))
        await gateway({"type": "websocket", "path": "/"}, None, send)  # type: ignore[arg-type]

    asyncio.run(work())
    assert sent == [{"type": "websocket.close", "code": 1003, "reason": "HTTP only"}]


def test_refusals_are_counted(house: House, http: Http) -> None:
    client = http(house)
    client.post(CHAT, content=b"{")
    client.post(CHAT, json=ask() | {"model": "none"})
    client.post("/v1/unheard-of", json=ask() | {"model": "none"})
    text = client.get("/metrics").text
    for route, status in ((CHAT, 400), (CHAT, 404), ("other", 404)):
        labels = f'{{model="",route="{route}",status="{status}"}}'
        assert f"roundhouse_requests_total{labels} 1.0" in text
