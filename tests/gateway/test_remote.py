"""Cloud APIs behind the gateway, as the official SDKs see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from gateway import upstream
from tests.fakes.cloud import KEY
from tests.fakes.clouds import FakeCloud
from tests.gateway import certificate as certificates
from tests.gateway import far
from tests.gateway.far import CALL, VARIABLE, gpt
from tests.gateway.house import CHAT, House

Sdk = Callable[..., openai.OpenAI]
Claude = Callable[..., anthropic.Anthropic]
Http = Callable[..., httpx.Client]
HI: Any = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
PRICE = {"input": 2.0, "output": 10.0}


@pytest.fixture
def house(clouds: tuple[FakeCloud, FakeCloud], open_house: Callable[..., House]) -> House:
    one, two = clouds
    return open_house({"gpt": gpt(one, price=PRICE), "claude": far.claude(two, price=PRICE)})


def cost(house: House, model: str) -> float | None:
    labels = {"model": model}
    return house.gateway.metrics.registry.get_sample_value("roundhouse_cost_usd_total", labels)


# OpenAI's API


def test_openai_chat(house: House, sdk: Sdk, clouds: tuple[FakeCloud, FakeCloud]) -> None:
    answer = sdk(house).chat.completions.create(
        model="gpt", messages=HI, extra_body={"routing": {"strategy": "cost"}}
    )
    assert (answer.choices[0].message.content, answer.model) == ("You said: hi", "gpt-fake")
    (seen,) = clouds[0].seen()
    assert seen["body"] == {"model": "gpt-fake", "messages": HI}
    assert seen["headers"]["authorization"] == f"Bearer {KEY}"
    assert cost(house, "gpt") == pytest.approx((20 * 2 + 5 * 10) / 1e6)


def test_openai_stream_is_counted_without_the_client_seeing_it(
    house: House, sdk: Sdk, clouds: tuple[FakeCloud, FakeCloud]
) -> None:
    chunks = list(sdk(house).chat.completions.create(model="gpt", messages=HI, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "You said: hi "
    assert clouds[0].seen()[0]["body"]["stream_options"] == {"include_usage": True}
    assert cost(house, "gpt") == pytest.approx((20 * 2 + 5 * 10) / 1e6)


def test_openai_usage_that_was_asked_for(house: House, sdk: Sdk) -> None:
    stream = sdk(house).chat.completions.create(
        model="gpt", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.usage is not None
    assert last.usage.total_tokens == 25


def test_without_a_price_nothing_is_changed_or_counted(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Callable[..., House], sdk: Sdk
) -> None:
    house = open_house({"gpt": gpt(clouds[0])})
    list(sdk(house).chat.completions.create(model="gpt", messages=HI, stream=True))
    assert "stream_options" not in clouds[0].seen()[0]["body"]
    assert cost(house, "gpt") is None


def test_paths_of_other_providers_and_headers(
    clouds: tuple[FakeCloud, FakeCloud], open_house: Callable[..., House], http: Http
) -> None:
    entry = gpt(clouds[0], "/api/paas/v4", remote={"headers": {"X-Team": "42"}})
    house = open_house({"glm": entry}, server={"api_keys": ["key-of-the-client"]})
    answer = http(house).post(
        CHAT,
        json={"model": "glm", "messages": HI},
        headers={"x-api-key": "key-of-the-client", "x-session-id": "s", "cookie": "a=b"},
    )
    assert answer.status_code == 200
    (seen,) = clouds[0].seen()
    assert seen["path"] == "/api/paas/v4/chat/completions"
    assert seen["headers"]["x-team"] == "42"
    assert not {"x-session-id", "cookie", "x-api-key"} & set(seen["headers"])
    assert seen["headers"]["accept-encoding"] == "identity"
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    assert "openai-organization" not in answer.headers
    assert "set-cookie" not in answer.headers


# Anthropic's API, asked in OpenAI's words


def test_claude_as_chat(house: House, sdk: Sdk, clouds: tuple[FakeCloud, FakeCloud]) -> None:
    answer = sdk(house).chat.completions.create(
        model="claude",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        temperature=1.5,
        seed=1,
    )
    assert answer.choices[0].message.content == "You said: hi"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 3)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 7
    (seen,) = clouds[1].seen()
    assert seen["body"]["system"] == "Be brief."
    assert (seen["headers"]["x-api-key"], seen["body"]["max_tokens"]) == (KEY, 4096)
    assert cost(house, "claude") == pytest.approx((20 * 2 + 3 * 10) / 1e6)


def test_claude_streamed(house: House, sdk: Sdk) -> None:
    stream = sdk(house).chat.completions.create(
        model="claude", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == "You said: hi"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert cost(house, "claude") == pytest.approx((20 * 2 + 3 * 10) / 1e6)


def test_claude_stops_where_it_should(house: House, sdk: Sdk) -> None:
    client = sdk(house).chat.completions
    stopped = client.create(model="claude", messages=HI, stop=["said"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == (
        "You ",
        "stop",
    )
    cut = client.create(model="claude", messages=HI, max_tokens=2)
    assert cut.choices[0].finish_reason == "length"


def test_claude_sees_images(house: House, sdk: Sdk) -> None:
    parts: Any = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.jpg"}},
    ]
    answer = sdk(house).chat.completions.create(
        model="claude", messages=[{"role": "user", "content": parts}]
    )
    assert answer.choices[0].message.content == "You said: look <base64 image> <url image>"


def other(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": None}}


def test_claude_calls_tools_in_parallel_and_hears_their_results(house: House, sdk: Sdk) -> None:
    client, tools = sdk(house).chat.completions, [CALL, other("clock")]
    first = client.create(model="claude", messages=HI, tools=tools)  # type: ignore[call-overload]
    calls = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "some city"}, {}]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{i}!"}
        for i, call in enumerate(calls)
    ]
    asked = [*HI, first.choices[0].message.model_dump(exclude_none=True), *results]
    second = client.create(model="claude", messages=asked, tools=tools)  # type: ignore[call-overload]
    assert second.choices[0].message.content == "The tools said: 0!, 1!"


def test_claude_calls_tools_in_a_stream(house: House, sdk: Sdk) -> None:
    with sdk(house).chat.completions.stream(
        model="claude",
        messages=HI,
        tools=[CALL, other("clock")],  # type: ignore[list-item]
    ) as stream:
        answer = stream.get_final_completion()
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "some city"}, {}]


@pytest.mark.parametrize(
    ("choice", "parallel", "called"),
    [
        ("none", None, None),
        ("required", False, ["weather"]),
        ({"type": "function", "function": {"name": "clock"}}, None, ["clock"]),
    ],
)
def test_claude_heeds_the_choice(
    house: House, sdk: Sdk, choice: Any, parallel: bool | None, called: list[str] | None
) -> None:
    options: dict[str, Any] = {} if parallel is None else {"parallel_tool_calls": parallel}
    answer = sdk(house).chat.completions.create(
        model="claude",
        messages=HI,
        tools=[CALL, other("clock")],  # type: ignore[list-item]
        tool_choice=choice,
        **options,
    )
    calls = answer.choices[0].message.tool_calls
    assert (calls and [call.function.name for call in calls]) == called  # type: ignore[union-attr]


def test_what_cannot_be_said_is_the_clients_400(
    house: House, sdk: Sdk, clouds: tuple[FakeCloud, FakeCloud]
) -> None:
    with pytest.raises(openai.BadRequestError, match="n: Anthropic's API cannot") as caught:
        sdk(house).chat.completions.create(model="claude", messages=HI, n=2)
    assert caught.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        sdk(house).embeddings.create(model="claude", input="hi")
    assert clouds[1].seen() == []


# Anthropic's API, asked in its own words


def test_messages_pass_through(
    house: House, claude: Claude, clouds: tuple[FakeCloud, FakeCloud]
) -> None:
    answer = claude(house).messages.create(model="claude", max_tokens=9, messages=HI)
    assert (answer.content[0].text, answer.model) == ("You said: hi", "claude-fake-1")  # type: ignore[union-attr]
    (seen,) = clouds[1].seen()
    assert seen["body"] == {"model": "claude-fake-1", "max_tokens": 9, "messages": HI}
    assert cost(house, "claude") == pytest.approx((20 * 2 + 3 * 10) / 1e6)


def test_messages_of_older_clients(house: House, http: Http) -> None:
    body = {"model": "claude", "max_tokens": 9, "messages": HI}
    answer = http(house).post("/v1/messages", json=body, headers={"x-api-key": "mine"})
    assert answer.json()["content"][0]["text"] == "You said: hi"


def test_messages_streamed(house: House, claude: Claude) -> None:
    with claude(house).messages.stream(model="claude", max_tokens=9, messages=HI) as stream:
        assert "".join(stream.text_stream) == "You said: hi"
    assert cost(house, "claude") == pytest.approx((20 * 2 + 3 * 10) / 1e6)


def test_tokens_are_counted_there(house: House, claude: Claude) -> None:
    assert claude(house).messages.count_tokens(model="claude", messages=HI).input_tokens == 20


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificates.write(tmp_path / "cloud.pem")


def test_https_with_a_certificate_that_is_trusted(
    certificate: Path,
    open_house: Callable[..., House],
    sdk: Sdk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    upstream._tls.cache_clear()
    try:
        with FakeCloud("anthropic", tls=certificate) as cloud:
            assert cloud.url.startswith("https://")
            client = sdk(open_house({"claude": far.claude(cloud)})).chat.completions
            for _ in range(2):
                stream = client.create(model="claude", messages=HI, stream=True)
                said = "".join(c.choices[0].delta.content or "" for c in stream)
                assert said == "You said: hi"
    finally:
        upstream._tls.cache_clear()


def test_https_with_one_that_is_not(
    certificate: Path,
    open_house: Callable[..., House],
    sdk: Sdk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    with FakeCloud("anthropic", tls=certificate) as cloud:
        house = open_house({"claude": far.claude(cloud)})
        with pytest.raises(openai.APIStatusError, match="certificate verify failed") as caught:
            sdk(house).chat.completions.create(model="claude", messages=HI)
        assert cloud.seen() == []
    assert caught.value.status_code == 502
