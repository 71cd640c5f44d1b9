"""The official SDKs, as their users call them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.fakes.running import FakeEngine
from tests.gateway.conftest import Build
from tests.gateway.house import House

Sdk = Callable[..., openai.OpenAI]
Claude = Callable[..., anthropic.Anthropic]
HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def house(build: Build, one: FakeEngine) -> House:
    return build(one, model={"aliases": ["gpt-4o-mini"]}, models={"other": {"source": one.url}})


def test_openai_chat(house: House, sdk: Sdk) -> None:
    answer = sdk(house).chat.completions.create(model="gpt-4o-mini", messages=HI, max_tokens=3)
    assert answer.choices[0].message.content == "t0 t1 t2 "
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_openai_chat_streamed(house: House, sdk: Sdk) -> None:
    stream = sdk(house).chat.completions.create(
        model="m", messages=HI, max_tokens=3, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert said == ["", "t0 ", "t1 ", "t2 "]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


def test_openai_headers_are_there_for_those_who_look(house: House, sdk: Sdk) -> None:
    raw = sdk(house).chat.completions.with_raw_response.create(model="m", messages=HI)
    assert raw.headers["x-roundhouse-replica"] == "m-0"
    assert raw.parse().choices[0].finish_reason == "length"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_openai_completions_and_embeddings(house: House, sdk: Sdk) -> None:
    client = sdk(house)
    assert client.completions.create(model="m", prompt="hi", max_tokens=2).choices[0].text == (
        "t0 t1 "
    )
    answer = client.embeddings.create(model="other", input=["a", "b"], encoding_format="float")
    assert [each.embedding[0] for each in answer.data] == [1.0, 1.0]


def test_openai_models(house: House, sdk: Sdk) -> None:
    client = sdk(house)
    listed = [model.id for model in client.models.list()]
    assert listed[:4] == ["m", "gpt-4o-mini", "other", "auto"]
    assert client.models.retrieve("gpt-4o-mini").owned_by == "roundhouse"
    with pytest.raises(openai.NotFoundError, match="did you mean 'gpt-4o-mini'"):
        client.models.retrieve("gpt-4o-mino")


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"mode": "status", "status": 400}, openai.BadRequestError, "400"),
        ({"mode": "status", "status": 429}, openai.RateLimitError, "429"),
        ({"mode": "status", "status": 500}, openai.InternalServerError, "engine_failed"),
        ({"mode": "hang"}, openai.InternalServerError, "engine_timeout"),
    ],
    ids=["400", "429", "500", "hang"],
)
def test_openais_errors(
    build: Build, one: FakeEngine, sdk: Sdk, fault: dict[str, Any], kind: Any, code: str
) -> None:
    one.behave(**fault)
    quick = {"first_token_timeout": "200ms"} if fault["mode"] == "hang" else {}
    house = build(one, defaults=quick)
    with pytest.raises(kind) as raised:
        sdk(house).chat.completions.create(model="m", messages=HI)
    assert raised.value.code == code
    assert raised.value.request_id.startswith("req-")


def test_openais_own_retry_waits_as_long_as_it_is_told(
    build: Build, one: FakeEngine, sdk: Sdk
) -> None:
    one.behave(mode="status", status=429, headers={"Retry-After": "0.01"}, times=1)
    client = sdk(build(one, router={"retry": {"max": 0}}), max_retries=1)
    assert client.chat.completions.create(model="m", messages=HI).choices
    assert one.stats()["requests"] == 2


def test_openai_async(house: House) -> None:
    async def ask(client: openai.AsyncOpenAI, tokens: int) -> str:
        stream = await client.chat.completions.create(
            model="m", messages=HI, max_tokens=tokens, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def work() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=f"{house.url}/v1", api_key="none", max_retries=0, timeout=30
        ) as client:
            return await asyncio.gather(*(ask(client, n) for n in range(1, 11)))

    assert asyncio.run(work()) == ["".join(f"t{i} " for i in range(n)) for n in range(1, 11)]


def test_anthropic_messages(house: House, claude: Claude) -> None:
    answer = claude(house).messages.create(model="m", messages=HI, max_tokens=2)
    assert answer.content[0].text == "t0 t1 "
    assert answer.usage.output_tokens == 2


def test_anthropic_messages_streamed(house: House, claude: Claude) -> None:
    with claude(house).messages.stream(model="m", messages=HI, max_tokens=3) as stream:
        assert list(stream.text_stream) == ["t0 ", "t1 ", "t2 "]
        assert stream.get_final_message().stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("model", "fault", "kind", "said"),
    [
        ("none", {"mode": "ok"}, anthropic.NotFoundError, "no model 'none'"),
        ("m", {"mode": "status"}, anthropic.InternalServerError, "replica m-0 failed"),
        ("m", {"mode": "error_event_first"}, anthropic.InternalServerError, "replica m-0 failed"),
    ],
    ids=["unknown", "500", "dead"],
)
def test_anthropics_errors(
    house: House,
    one: FakeEngine,
    claude: Claude,
    model: str,
    fault: dict[str, Any],
    kind: Any,
    said: str,
) -> None:
    one.behave(**fault)
    with pytest.raises(kind, match=said) as raised:
        claude(house).messages.create(model=model, messages=HI, max_tokens=2)
    assert raised.value.body["type"] == "error"


def test_a_connection_serves_many_requests(house: House, http: Callable[..., httpx.Client]) -> None:
    """Refusals and pages of the router's own must not break a client's connection."""
    client = http(house, limits=httpx.Limits(max_connections=1, max_keepalive_connections=1))
    chat = "/v1/chat/completions"
    for _ in range(3):
        assert client.get("/v1/models").status_code == 200
        assert client.post(chat, content=b"{").status_code == 400
        assert client.post(chat, json={"model": "m", "messages": HI}).status_code == 200
        body = {"model": "m", "messages": HI, "stream": True}
        assert client.post(chat, json=body).text.endswith("data: [DONE]\n\n")
