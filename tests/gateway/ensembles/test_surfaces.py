"""Ensembles by Anthropic's Messages and OpenAI's Responses, with their own SDKs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open

Sdk = Callable[..., openai.OpenAI]
Claude = Callable[..., anthropic.Anthropic]
Http = Callable[..., httpx.Client]
Speakers = dict[str, FakeSpeaker]
ASKED: Any = [{"role": "user", "content": [{"type": "text", "text": "What is 9 + 9?"}]}]
VOTE = "ensemble:vote:a+b+c"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_messages(open_house: Open, claude: Claude, speakers: Speakers) -> None:
    answer = claude(open_house()).messages.create(
        model=VOTE, messages=ASKED, max_tokens=50, system="Be brief.", stop_sequences=["X"]
    )
    assert answer.content[0].text == "The answer is 18."
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens >= 8
    (asked,) = speakers["a"].bodies()
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 9 + 9?"},
    ]
    assert asked["stop"] == ["X"]
    assert asked["max_tokens"] == 50


def test_messages_streamed(open_house: Open, claude: Claude) -> None:
    with claude(open_house()).messages.stream(model=VOTE, messages=ASKED, max_tokens=2) as stream:
        assert "".join(stream.text_stream) == "The answer"
        final = stream.get_final_message()
    assert final.stop_reason == "max_tokens"
    assert final.usage.output_tokens >= 4


def test_messages_errors(open_house: Open, claude: Claude) -> None:
    client = claude(open_house())
    with pytest.raises(anthropic.BadRequestError, match="cannot be nested"):
        client.messages.create(model="cascade:a>ensemble:vote:b", messages=ASKED, max_tokens=5)
    tool: Any = {"name": "f", "input_schema": {"type": "object"}}
    with pytest.raises(anthropic.BadRequestError, match="tools: ensembles take it by"):
        client.messages.create(model=VOTE, messages=ASKED, max_tokens=5, tools=[tool])
    with pytest.raises(anthropic.BadRequestError, match="holds one answer"):
        client.messages.create(model="ensemble:compare:a+b", messages=ASKED, max_tokens=5)


def test_responses(open_house: Open, sdk: Sdk, speakers: Speakers) -> None:
    answer = sdk(open_house()).responses.create(
        model=VOTE, input="What is 9 + 9?", instructions="Be brief.", max_output_tokens=50
    )
    assert answer.output_text == "The answer is 18."
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.output_tokens >= 8
    (asked,) = speakers["a"].bodies()
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]


def test_responses_streamed(open_house: Open, sdk: Sdk) -> None:
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}]}]
    with sdk(open_house()).responses.stream(model=VOTE, input=items) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert "response.output_text.delta" in kinds
    assert kinds[-1] == "response.completed"
    assert final.output_text == "The answer is 18."


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"tools": [TOOL]}, "tools: ensembles take tools by"),
        ({"previous_response_id": "resp_1"}, "previous_response_id: ensembles keep nothing"),
        ({"input": [{"type": "function_call_output"}]}, "takes messages only"),
    ],
)
def test_what_responses_cannot(
    open_house: Open, http: Http, field: dict[str, Any], said: str
) -> None:
    body = {"model": VOTE, "input": "hi", **field}
    answer = http(open_house()).post("/v1/responses", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("model", "field", "said"),
    [
        (VOTE, {"tools": [TOOL]}, "tools: vote compares answers as text"),
        (VOTE, {"max_tokens": 0}, "max_tokens: must be at least 1"),
        (VOTE, {"n": 2}, "n: an ensemble gives one answer"),
        (VOTE, {"logprobs": True}, "no probabilities of its own"),
        (VOTE, {"messages": []}, "messages: there must be at least one"),
        (VOTE, {"routing": {"trail": True}}, "routing.trail: unknown"),
        (VOTE, {"routing": {"trace": "yes"}}, "routing.trace must be true or false"),
        ("ensemble:vote:a+none", {}, "no model 'none'"),
        ("ensemble:none", {}, "no ensemble 'ensemble:none'"),
    ],
)
def test_what_chats_cannot(
    open_house: Open, http: Http, model: str, field: dict[str, Any], said: str
) -> None:
    body = {"model": model, "messages": ASKED, **field}
    answer = http(open_house()).post("/v1/chat/completions", json=body)
    assert answer.status_code in (400, 404)
    assert said in answer.json()["error"]["message"]


def test_images_and_tools_go_to_the_members_of_compare(
    open_house: Open, http: Http, speakers: Speakers
) -> None:
    content = [IMAGE, {"type": "text", "text": "What is this?"}]
    body = {"model": "ensemble:compare:a+b", "messages": [{"role": "user", "content": content}]}
    answer = http(open_house()).post("/v1/chat/completions", json={**body, "tools": [TOOL]})
    assert answer.status_code == 200
    for name in ("a", "b"):
        (asked,) = speakers[name].bodies()
        assert asked["messages"][0]["content"] == content
        assert asked["tools"] == [TOOL]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/v1/messages/count_tokens"])
def test_other_surfaces_have_none(open_house: Open, http: Http, path: str) -> None:
    answer = http(open_house()).post(path, json={"model": VOTE, "prompt": "hi", "input": "hi"})
    assert answer.status_code == 400
    assert "ensembles answer /v1/chat/completions" in answer.json()["error"]["message"]
