"""llama.cpp behind the whole gateway: the embedded model as a GGUF file, and OpenAI's client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest

from tests.real.serving import KEY, RunningServer, wait_for

pytestmark = pytest.mark.engine

CONTEXT_TOKENS, SLOTS = 1024, 4
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
COUNT: Any = [{"role": "user", "content": "Count from one to one hundred in words."}]


def words(count: int) -> Any:
    """A prompt of about that many tokens, and a few of the template."""
    return [{"role": "user", "content": "word " * count}]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = {
        "models": {
            "small": {
                "source": "embedded:smollm2-gguf",
                "aliases": ["gpt-4o-mini"],
                "max_model_len": CONTEXT_TOKENS,
                "engine_args": {"n_parallel": SLOTS},
            }
        }
    }
    with RunningServer(config, tmp_path_factory.mktemp("llama")) as server:
        yield server.wait_ready(120)


@pytest.fixture(scope="module")
def client(llama: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{llama.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def chat(client: openai.OpenAI, messages: Any = QUESTION, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "small", "messages": messages, "temperature": 0, "max_tokens": 12, **options}
    )


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = chat(client, n=1)
    assert answer.model == "small"
    assert len(answer.choices) == 1
    assert answer.choices[0].message.content
    assert 0 < answer.usage.completion_tokens <= 12
    assert chat(client).choices[0].message.content == answer.choices[0].message.content


def test_an_alias_is_answered_by_its_model(client: openai.OpenAI) -> None:
    assert chat(client, model="gpt-4o-mini").model == "small"


def test_a_stream_says_what_a_whole_answer_does(client: openai.OpenAI) -> None:
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_stop_ends_an_answer_before_the_word(client: openai.OpenAI) -> None:
    text = chat(client).choices[0].message.content
    word = text.split()[2]
    stopped = chat(client, stop=[word]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == text[: text.index(word)]


def test_logprobs_are_those_of_the_tokens(client: openai.OpenAI) -> None:
    found = chat(client, logprobs=True, top_logprobs=3, max_tokens=4).choices[0]
    assert "".join(t.token for t in found.logprobs.content) == found.message.content
    for token in found.logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == pytest.approx(token.logprob)  # greedy


def test_several_answers_to_one_request(client: openai.OpenAI) -> None:
    assert len(chat(client, n=2, max_tokens=2).choices) == 2
    with pytest.raises(openai.BadRequestError, match="'n'"):
        chat(client, n=SLOTS + 1, max_tokens=2)


def test_an_answer_by_schema(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    text = chat(client, response_format=wanted, max_tokens=40).choices[0].message.content
    assert text.replace(" ", "").replace("\n", "") in {'{"n":1}', '{"n":2}'}


def test_a_prompt_that_fills_a_slot_is_answered(client: openai.OpenAI) -> None:
    """So that the prompt and its answer end where max_model_len does, not before."""
    told = chat(
        client,
        words(CONTEXT_TOKENS - 60),
        max_tokens=200,
        extra_body={"ignore_eos": True},
    )
    assert told.choices[0].finish_reason == "length"
    assert told.usage.total_tokens == CONTEXT_TOKENS
    assert told.usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_told_as_openai_does(
    client: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, words(CONTEXT_TOKENS), stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.type == "invalid_request_error"
    assert f"({CONTEXT_TOKENS} tokens)" in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_more_requests_than_slots_wait_and_none_fails(
    llama: RunningServer, stream: bool
) -> None:
    """8 at a time, 4 times each, from the first moment on; half of them stand in line."""
    async with openai.AsyncOpenAI(
        base_url=f"{llama.url}/v1", api_key=KEY, max_retries=0, timeout=300
    ) as client:

        async def ask(number: int) -> int:
            done = 0
            for turn in range(4):
                said: Any = [{"role": "user", "content": f"{number}.{turn}: " + "word " * 40}]
                answer: Any = await client.chat.completions.create(
                    model="small", messages=said, max_tokens=8, stream=stream
                )
                if stream:
                    ended = [c.choices[0].finish_reason async for c in answer if c.choices][-1]
                else:
                    ended = answer.choices[0].finish_reason
                done += ended in {"stop", "length"}
            return done

        counts = await asyncio.gather(*map(ask, range(8)))
    assert counts == [4] * 8
    # Nor was any of them asked twice, as it would be if llama.cpp's closed connections were kept.
    assert "roundhouse_retries_total{" not in llama.get("/metrics").text
    (row,) = llama.rows().values()
    assert row["max_in_flight"] == SLOTS
    assert row["restarts"] == 0


@pytest.mark.anyio
async def test_all_slots_hold_a_full_context_at_once(llama: RunningServer) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{llama.url}/v1", api_key=KEY, max_retries=0, timeout=300
    ) as client:

        async def ask(number: int) -> int:
            said: Any = [{"role": "user", "content": f"{number} " + "word " * 900}]
            answer = await client.chat.completions.create(
                model="small", messages=said, max_tokens=8
            )
            assert answer.usage is not None
            return answer.usage.prompt_tokens

        prompts = await asyncio.gather(*map(ask, range(SLOTS)))
    assert min(prompts) > 900


def test_other_protocols(llama: RunningServer) -> None:
    message = {"model": "small", "max_tokens": 4, "messages": QUESTION}
    assert llama.post("/v1/messages", message).json()["type"] == "message"
    assert llama.post("/v1/messages/count_tokens", message).json()["input_tokens"] > 5
    answer = llama.post("/v1/responses", {"model": "small", "input": "Hi", "max_output_tokens": 4})
    assert answer.json()["object"] == "response"
    body = {"model": "small", "prompt": "One, two,", "max_tokens": 4}
    assert llama.post("/v1/completions", body).json()["choices"][0]["text"]


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/embeddings", 501), ("/v1/rerank", 501), ("/v1/score", 404)]
)
def test_what_it_does_not_support(llama: RunningServer, path: str, status: int) -> None:
    """docs/engines.md lists these."""
    told = llama.post(path, {"model": "small", "input": "x", "query": "x", "documents": ["y"]})
    assert told.status_code == status
    assert told.json()["error"]["message"]


def test_its_metrics_stand_beside_the_routers(llama: RunningServer) -> None:
    text = llama.get("/metrics").text
    assert 'llamacpp:prompt_tokens_total{model="small",replica="small-0"}' in text
    assert "roundhouse_" in text


def test_a_killed_server_comes_back(llama: RunningServer, client: openai.OpenAI) -> None:
    """Last: the process of llama.cpp is killed, and the replica starts anew."""
    (server,) = [p for p in llama.processes() if "engines.llamacpp_server" in p.cmdline()]
    assert all(KEY not in word and llama.token not in word for word in server.cmdline())
    server.kill()
    wait_for(lambda: llama.rows()["small-0"]["restarts"] == 1, 30, "restart of the replica")
    wait_for(lambda: llama.admin()["settled"], 30, "the replica ready again")
    assert chat(client, COUNT).choices[0].message.content
    assert not psutil.pid_exists(server.pid)
