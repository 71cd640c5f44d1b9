"""What stands behind a model's name makes no difference to a client: one suite for all engines.

Where an engine cannot do a thing, `Subject.doing` wants the status that docs/engines.md names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import openai
import pytest

from tests.gateway.far import CALL
from tests.real import subjects
from tests.real.serving import KEY, RunningServer, wait_for
from tests.real.subjects import Subject

pytestmark = pytest.mark.engine

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
LONG: Any = [{"role": "user", "content": "Count from one to one thousand."}]
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "London"]},
        "is_capital": {"type": "boolean"},
    },
    "required": ["city", "is_capital"],
    "additionalProperties": False,
}
ALL = subjects.REAL | subjects.FAKE
# Deciding what an answer says needs a model, which the fakes have not.
of_a_real_model = pytest.mark.parametrize("engine", subjects.REAL, indirect=True)


@pytest.fixture(scope="module")
def _opened(house: RunningServer) -> Iterator[dict[str, Subject]]:
    with ExitStack() as stack:
        yield {name: make(house, stack) for name, make in ALL.items()}


@pytest.fixture(params=ALL)
def engine(request: pytest.FixtureRequest, _opened: dict[str, Subject]) -> Subject:
    return _opened[request.param]


@pytest.fixture
def client(engine: Subject) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(engine: Subject) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=engine.url, api_key=KEY, max_retries=0) as client:
        yield client


def asked(engine: Subject, **more: Any) -> dict[str, Any]:
    return {"model": engine.model, "messages": MESSAGES, "temperature": 0, "max_tokens": 16} | more


def chat(client: openai.OpenAI, engine: Subject, **more: Any) -> Any:
    return client.chat.completions.create(**asked(engine, **more))


def said(answer: Any) -> str:
    text: str = answer.choices[0].message.content
    return text


def test_a_chat_is_answered_twice_the_same(client: openai.OpenAI, engine: Subject) -> None:
    answer = chat(client, engine, n=1)
    assert (answer.model, answer.object) == (engine.told, "chat.completion")
    assert engine.says in said(answer)
    assert len(answer.choices) == 1
    assert answer.choices[0].finish_reason in {"stop", "length"}
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 16
    assert said(chat(client, engine)) == said(answer)


def test_an_alias_is_answered_by_its_model(client: openai.OpenAI, engine: Subject) -> None:
    assert chat(client, engine, model=engine.alias, max_tokens=3).model == engine.told


def test_a_stream_is_the_answer_in_pieces_with_usage(
    client: openai.OpenAI, engine: Subject
) -> None:
    whole = chat(client, engine)
    events = list(chat(client, engine, stream=True, stream_options={"include_usage": True}))
    pieces = [c.delta.content or "" for event in events for c in event.choices]
    assert "".join(pieces) == said(whole)
    assert len(pieces) >= 3
    assert [c.finish_reason for event in events for c in event.choices][-1] in {"stop", "length"}
    told = events[-1].usage
    assert told.prompt_tokens == whole.usage.prompt_tokens
    assert told.completion_tokens == whole.usage.completion_tokens


def test_a_model_that_is_not_there(client: openai.OpenAI, engine: Subject) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        chat(client, engine, model=f"{engine.model}-not")
    assert caught.value.code == "model_not_found"
    assert engine.model in caught.value.message  # a near name


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.anyio
async def test_29_requests_8_at_a_time_are_all_answered(engine: Subject, stream: bool) -> None:
    """From the first moment on; where the slots are fewer, some stand in line."""
    options = {"api_key": KEY, "max_retries": 0, "timeout": 300}
    async with openai.AsyncOpenAI(base_url=f"{engine.url}/v1", **options) as client:  # type: ignore[arg-type]
        room = asyncio.Semaphore(8)

        async def ask(number: int) -> str:
            messages = [{"role": "user", "content": f"{number}: " + "word " * 40}]
            async with room:
                answer: Any = await client.chat.completions.create(
                    **asked(engine, messages=messages, max_tokens=8), stream=stream
                )
                if not stream:
                    return str(answer.choices[0].finish_reason)
                ends = [c.choices[0].finish_reason async for c in answer if c.choices]
                return str(ends[-1])

        ends = await asyncio.gather(*map(ask, range(29)))
    assert set(ends) <= {"stop", "length"}


def test_messages_of_anthropics_sdk(claude: anthropic.Anthropic, engine: Subject) -> None:
    request: Any = {"model": engine.model, "max_tokens": 16, "messages": MESSAGES}
    greedy = {"temperature": 0}
    answer = claude.messages.create(**request, extra_body=greedy)
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", engine.told)
    text = answer.content[0].text  # type: ignore[union-attr]
    assert engine.says in text
    with claude.messages.stream(**request, extra_body=greedy) as stream:
        assert "".join(stream.text_stream) == text
    with engine.doing("count"):
        counted = claude.messages.count_tokens(model=engine.model, messages=MESSAGES)
        told = answer.usage  # Anthropic counts what is cached apart
        cached = (told.cache_read_input_tokens or 0) + (told.cache_creation_input_tokens or 0)
        assert counted.input_tokens == told.input_tokens + cached


@of_a_real_model
def test_stop_ends_an_answer_before_the_word(client: openai.OpenAI, engine: Subject) -> None:
    text = said(chat(client, engine))
    word = text.split()[2]
    stopped = chat(client, engine, stop=[word])
    assert stopped.choices[0].finish_reason == "stop"
    assert said(stopped) == text[: text.index(word)]


@of_a_real_model
def test_several_answers(client: openai.OpenAI, engine: Subject) -> None:
    answer = chat(client, engine, n=2, temperature=1, max_tokens=5)
    assert [choice.index for choice in answer.choices] == [0, 1]
    with engine.doing("greedy n"):
        chat(client, engine, n=2, max_tokens=2)
    with engine.doing("many n"):
        chat(client, engine, n=5, temperature=1, max_tokens=2)


@of_a_real_model
def test_a_seed_repeats_an_answer(client: openai.OpenAI, engine: Subject) -> None:
    texts = {
        said(chat(client, engine, messages=LONG, temperature=1, seed=seed)) for seed in (7, 7, 7, 8)
    }
    assert len(texts) == 2


@of_a_real_model
def test_logprobs_are_those_of_the_tokens(client: openai.OpenAI, engine: Subject) -> None:
    answer = chat(client, engine, logprobs=True, top_logprobs=3, max_tokens=4)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == said(answer)
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) >= 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)  # greedy


@of_a_real_model
def test_an_answer_by_schema(client: openai.OpenAI, engine: Subject) -> None:
    schema = {"name": "city", "schema": CITY, "strict": True}
    wanted = {"type": "json_schema", "json_schema": schema}
    told = json.loads(said(chat(client, engine, response_format=wanted, max_tokens=60)))
    assert told.keys() == {"city", "is_capital"}
    assert told["city"] == "Paris"
    assert isinstance(told["is_capital"], bool)


@of_a_real_model
def test_tools_that_nothing_reads(client: openai.OpenAI, engine: Subject) -> None:
    """vLLM without a tool parser refuses them, llama.cpp leaves them out where its chat template
    does: docs/engines.md."""
    with engine.doing("tools"):
        answer = chat(client, engine, tools=[CALL], tool_choice="required")
        assert answer.choices[0].message.tool_calls is None
        assert said(answer) == said(chat(client, engine))


@of_a_real_model
def test_the_result_of_a_tool_is_heard(client: openai.OpenAI, engine: Subject) -> None:
    function = {"name": "look_up", "arguments": '{"what": "capital of France"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    turns = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Paris"},
    ]
    assert "Paris" in said(chat(client, engine, messages=turns))


@of_a_real_model
def test_completions(client: openai.OpenAI, engine: Subject) -> None:
    answer = client.completions.create(
        model=engine.model, prompt="The capital of France is", temperature=0, max_tokens=5
    )
    assert "Paris" in answer.choices[0].text
    pieces = client.completions.create(
        model=engine.model,
        prompt="The capital of France is",
        temperature=0,
        max_tokens=5,
        stream=True,
    )
    assert "".join(p.choices[0].text for p in pieces if p.choices) == answer.choices[0].text


@of_a_real_model
def test_responses(client: openai.OpenAI, engine: Subject) -> None:
    request: Any = {"model": engine.model, "input": MESSAGES[0]["content"], "temperature": 0}
    answer = client.responses.create(**request, max_output_tokens=20)
    assert engine.says in answer.output_text
    events = list(client.responses.create(**request, max_output_tokens=20, stream=True))
    assert events[0].type == "response.created"
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert "".join(delta.delta for delta in deltas) == answer.output_text
    indexed = {getattr(delta, "output_index", None) is not None for delta in deltas}
    assert indexed == {engine.indexes_events}
    if engine.indexes_events:
        with client.responses.stream(**request, max_output_tokens=20) as stream:
            assert "response.output_text.delta" in [event.type for event in stream]


@of_a_real_model
@pytest.mark.parametrize(
    "wrong", [{"messages": "x"}, {"max_tokens": "many"}, {"n": 0}, {"messages": None}]
)
def test_a_request_that_makes_no_sense(
    client: openai.OpenAI, engine: Subject, wrong: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, engine, **wrong)
    assert caught.value.message


@of_a_real_model
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_told_as_openai_does(
    client: openai.OpenAI, engine: Subject, stream: bool
) -> None:
    words = [{"role": "user", "content": "word " * engine.context_tokens}]
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, engine, messages=words, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.type == "invalid_request_error"
    assert f"{engine.context_tokens} tokens" in caught.value.message


@of_a_real_model
def test_more_tokens_than_the_context_holds(client: openai.OpenAI, engine: Subject) -> None:
    """vLLM refuses to begin, llama.cpp answers to the end of its context."""
    with engine.doing("beyond the context"):
        answer = chat(client, engine, max_tokens=99_999, stop=[",", "."])
        assert answer.choices[0].finish_reason in {"stop", "length"}


@of_a_real_model
def test_what_it_does_not_embed(client: openai.OpenAI, engine: Subject) -> None:
    with engine.doing("embeddings"):
        client.embeddings.create(model=engine.model, input="x")


@of_a_real_model
def test_a_client_that_hangs_up_frees_the_engine(client: openai.OpenAI, engine: Subject) -> None:
    stream = chat(
        client,
        engine,
        messages=LONG,
        stream=True,
        max_tokens=engine.context_tokens - 100,
        extra_body={"ignore_eos": True},
    )
    assert [next(stream) for _ in range(8)]
    wait_for(lambda: engine.busy() == 1, 10, "request running")
    stream.close()
    waited = wait_for(lambda: engine.busy() == 0, 10, "engine freed")
    print(f"freed after {waited:.2f} s")
