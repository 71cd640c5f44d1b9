"""Who may call, and that a key goes nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anthropic
import httpx2 as httpx
import openai
import pytest

from common.errors import UnauthorizedError
from gateway.keys import Keys
from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import CHAT, MESSAGES, House, ask

Http = Callable[..., httpx.Client]
KEY, SECOND, ADMIN = "sesame-open-1", "sesame-open-2", "admin-token-of-this-start"


@pytest.fixture
def house(build: Build, one: FakeEngine) -> House:
    return build(one, server={"api_keys": [KEY, SECOND]}, admin_token=ADMIN)


@pytest.mark.parametrize("key", [KEY, SECOND, ADMIN])
@pytest.mark.parametrize("form", ["Bearer", "bearer", "BEARER", "x-api-key"])
def test_every_key_opens_in_every_form(house: House, http: Http, key: str, form: str) -> None:
    headers = {form: key} if form == "x-api-key" else {"Authorization": f"{form} {key}"}
    assert http(house).post(CHAT, json=ask(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "no API key: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"),
        ({"authorization": f"Basic {KEY}"}, "no API key"),
        ({"authorization": KEY}, "no API key"),
        ({"authorization": "Bearer"}, "no API key"),
        ({"authorization": "Bearer wrong-key"}, "the API key is not known here"),
        ({"authorization": f"Bearer {KEY}x"}, "the API key is not known here"),
        ({"authorization": f"Bearer {KEY[:-1]}"}, "the API key is not known here"),
        ({"authorization": f"Bearer {KEY.upper()}"}, "the API key is not known here"),
        ({"x-api-key": ""}, "the API key is not known here"),
        ({"x-api-key": "wrong-key"}, "the API key is not known here"),
        ({"x-api-key": f"Bearer {KEY}"}, "the API key is not known here"),
    ],
)
def test_a_missing_or_wrong_key_is_refused(
    house: House, one: FakeEngine, http: Http, headers: dict[str, str], said: str
) -> None:
    answer = http(house).post(CHAT, json=ask(), headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    error = answer.json()["error"]
    assert error["message"].startswith(said)
    assert (error["type"], error["code"], error["src"]) == (
        "authentication_error",
        "invalid_api_key",
        "router",
    )
    assert one.stats()["requests"] == 0


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_is_open(house: House, http: Http, path: str) -> None:
    assert http(house).get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/m"),
        ("GET", "/admin/replicas"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("POST", "/v1/embeddings"),
        ("POST", "/tokenize"),
        ("POST", "/v1/load_lora_adapter"),
        ("GET", "/nothing"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/health/../admin/replicas"),
        ("GET", "/healthy"),
        ("OPTIONS", "/v1/models"),
    ],
)
def test_everything_else_is_closed(house: House, http: Http, method: str, path: str) -> None:
    assert http(house).request(method, path).status_code == 401


def test_the_body_is_not_even_read_without_a_key(house: House, http: Http) -> None:
    assert http(house).post(CHAT, content=b"no json").status_code == 401


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_the_key_stays_here(house: House, one: FakeEngine, http: Http, name: str) -> None:
    value = f"Bearer {KEY}" if name == "authorization" else KEY
    http(house).post(CHAT, json=ask(), headers={name: value})
    assert KEY not in str(one.stats()["last"])
    assert name not in one.stats()["last"]["headers"]


def test_a_replicas_own_token_takes_the_keys_place(
    house: House, one: FakeEngine, http: Http
) -> None:
    house.dispatcher.replicas["m-0"].token = "the-engines-own"
    http(house).post(CHAT, json=ask(), headers={"authorization": f"Bearer {KEY}"})
    assert one.stats()["last"]["headers"]["authorization"] == "Bearer the-engines-own"


def test_no_key_is_ever_printed(
    house: House,
    http: Http,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    client = http(house)
    answers = [
        client.post(CHAT, json=ask(), headers={"authorization": f"Bearer {key}"})
        for key in (KEY, "almost-sesame")
    ]
    answers.append(client.post(CHAT, content=b"{", headers={"x-api-key": KEY}))
    assert [answer.status_code for answer in answers] == [200, 401, 400]
    printed = "".join(capfd.readouterr()) + caplog.text + "".join(a.text for a in answers)
    assert "sesame" not in printed
    assert "sesame" not in repr(house.gateway._keys.__dict__)


def test_the_sdks_raise_their_own_error(
    house: House,
    sdk: Callable[..., openai.OpenAI],
    claude: Callable[..., anthropic.Anthropic],
) -> None:
    with pytest.raises(openai.AuthenticationError, match="the API key is not known here"):
        sdk(house, api_key="wrong-key").models.list()
    with pytest.raises(anthropic.AuthenticationError, match="the API key is not known here"):
        claude(house, api_key="wrong-key").messages.create(**ask())
    assert sdk(house, api_key=KEY).chat.completions.create(**ask()).model == "m"
    assert claude(house, api_key=SECOND).messages.create(**ask()).model == "m"


def test_an_anthropic_refusal_has_anthropics_shape(house: House, http: Http) -> None:
    answer = http(house).post(MESSAGES, json=ask())
    assert answer.status_code == 401
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "authentication_error"


def test_without_keys_everybody_is_let_in(build: Build, one: FakeEngine, http: Http) -> None:
    """On loopback only, which the config sees to. The admin token must not close the door."""
    client = http(build(one, admin_token=ADMIN))
    assert client.post(CHAT, json=ask()).status_code == 200
    assert client.get("/admin/replicas", headers={"x-api-key": "any"}).status_code == 200


def test_bearer_wins_where_both_are_sent() -> None:
    keys = Keys([KEY])
    keys.check({b"authorization": b"Bearer " + KEY.encode(), b"x-api-key": b"wrong"})
    keys.check({b"authorization": b"Basic abc", b"x-api-key": KEY.encode()})
    with pytest.raises(UnauthorizedError):
        keys.check({b"authorization": b"Bearer wrong", b"x-api-key": KEY.encode()})


def test_keys_beyond_ascii_work() -> None:
    Keys(["schlüssel-ü"]).check({b"x-api-key": "schlüssel-ü".encode()})
