"""The fakes of cloud APIs, asked by the providers' own SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.fakes.cloud import KEY
from tests.fakes.clouds import FakeCloud

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def claude() -> Iterator[anthropic.Anthropic]:
    with (
        FakeCloud("anthropic") as cloud,
        anthropic.Anthropic(base_url=cloud.url, api_key=KEY, max_retries=0) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def gpt() -> Iterator[openai.OpenAI]:
    with (
        FakeCloud("openai") as cloud,
        openai.OpenAI(base_url=f"{cloud.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        yield client


def ask(claude: anthropic.Anthropic, **more: Any) -> anthropic.types.Message:
    options = {"model": "claude-fake-1", "max_tokens": 100, "messages": HI} | more
    message: anthropic.types.Message = claude.messages.create(**options)
    return message


def test_anthropic_text(claude: anthropic.Anthropic) -> None:
    message = ask(claude)
    assert message.content[0].text == "You said: hi"  # type: ignore[union-attr]
    assert (message.stop_reason, message.usage.input_tokens) == ("end_turn", 10)


def test_anthropic_stream(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="claude-fake-1", max_tokens=100, messages=HI) as stream:
        assert "".join(stream.text_stream) == "You said: hi"
        message = stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)


def test_anthropic_tools_streamed(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="claude-fake-1", max_tokens=100, messages=HI, tools=[TOOL]
    ) as stream:
        message = stream.get_final_message()
    (block,) = message.content
    assert block.type == "tool_use"
    assert (block.input, message.stop_reason) == ({"city": "some city"}, "tool_use")


def test_anthropic_counts_and_lists(claude: anthropic.Anthropic) -> None:
    counted = claude.messages.count_tokens(model="claude-fake-1", messages=HI)
    assert counted.input_tokens == 20
    assert [model.id for model in claude.models.list()] == ["claude-fake-1", "claude-fake-2"]


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"model": "x"}, anthropic.NotFoundError, "not_found_error"),
        ({"extra_body": {"temperature": 2}}, anthropic.BadRequestError, "temperature"),
        ({"extra_body": {"n": 2}}, anthropic.BadRequestError, "Extra inputs are not permitted"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            anthropic.BadRequestError,
            "must be non-empty",
        ),
        (
            {
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}],
                    },
                    *HI,
                ]
            },
            anthropic.BadRequestError,
            "tool_use ids",
        ),
        (
            {"extra_headers": {"authorization": "Bearer x"}},
            anthropic.AuthenticationError,
            "invalid",
        ),
    ],
)
def test_anthropic_refuses(
    claude: anthropic.Anthropic, wrong: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        ask(claude, **wrong)


def test_openai_text_and_stream(gpt: openai.OpenAI) -> None:
    answer = gpt.chat.completions.create(model="gpt-fake", messages=HI)
    assert answer.choices[0].message.content == "You said: hi"
    chunks = list(
        gpt.chat.completions.create(
            model="gpt-fake", messages=HI, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == "You said: hi "
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 25


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"model": "x"}, openai.NotFoundError),
        ({"extra_body": {"routing": {}}}, openai.BadRequestError),
        ({"extra_headers": {"authorization": "Bearer x"}}, openai.AuthenticationError),
    ],
)
def test_openai_refuses(gpt: openai.OpenAI, wrong: dict[str, Any], kind: type[Exception]) -> None:
    options: dict[str, Any] = {"model": "gpt-fake", "messages": HI} | wrong
    with pytest.raises(kind):
        gpt.chat.completions.create(**options)


def test_faults_come_as_often_as_was_asked_for() -> None:
    with FakeCloud("openai") as cloud:
        client = openai.OpenAI(base_url=f"{cloud.url}/v1", api_key=KEY, max_retries=0)
        cloud.fault(status=429, retry_after=7)
        with client, pytest.raises(openai.RateLimitError) as caught:
            client.models.list()
        assert caught.value.response.headers["retry-after"] == "7"
        assert [each["path"] for each in cloud.seen()] == ["/v1/models"]
