"""Every kind of ensemble on real engines: vLLM and llama.cpp, the default config's two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from router.ensembles.kinds import KINDS
from tests.real.serving import KEY, RunningServer, wait_for
from tests.real.subjects import metric

pytestmark = pytest.mark.engine

ASKED: Any = [{"role": "user", "content": "What is 2 + 3? Answer with the number."}]
LONG: Any = [{"role": "user", "content": "Count from one to one thousand."}]
STEPS = [
    {"name": "draft", "model": "smollm2-gguf", "template": "{question}"},
    {"name": "polish", "model": "smollm2", "template": "Say it shortly: {steps.draft}"},
]
CHAIN = {"ensemble": {"kind": "chain", "steps": STEPS}}
CHECKED = {"ensemble": {"kind": "best_of", "samples": 2, "check": {"min_chars": 1}}}
HOW: dict[str, dict[str, Any]] = {
    "vote": {"model": "ensemble:vote:3:smollm2"},
    "cascade": {"model": "cascade:smollm2-gguf>smollm2"},
    "compare": {"model": "ensemble:compare:smollm2+smollm2-gguf"},
    "fuse": {"model": "ensemble:fuse:smollm2+smollm2-gguf"},
    "best_of": {"model": "smollm2-gguf", "extra_body": {"routing": CHECKED}},
    "verify": {"model": "ensemble:verify:smollm2>smollm2-gguf"},
    "decompose": {"model": "ensemble:decompose:smollm2+smollm2-gguf"},
    "chain": {"model": "smollm2", "extra_body": {"routing": CHAIN}},
}
STREAMED = ("vote", "cascade", "chain")


@pytest.fixture
def client(house: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
def test_whole(client: openai.OpenAI, kind: str) -> None:
    answer = client.chat.completions.create(**HOW[kind], messages=ASKED, max_tokens=12)
    assert len(answer.choices) == (2 if kind == "compare" else 1)
    assert all(choice.message.content for choice in answer.choices)
    assert answer.model in ("smollm2", "smollm2-gguf")
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("kind", STREAMED)
def test_streamed(client: openai.OpenAI, kind: str) -> None:
    chunks = client.chat.completions.create(**HOW[kind], messages=ASKED, max_tokens=12, stream=True)
    said = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(said)


@pytest.mark.parametrize("model", ["smollm2", "smollm2-gguf"])
def test_samples_of_one_model_are_one_request(client: openai.OpenAI, model: str) -> None:
    once = client.chat.completions.create(model=model, messages=ASKED, max_tokens=12)
    voted = client.chat.completions.create(
        model=f"ensemble:vote:4:{model}",
        messages=ASKED,
        max_tokens=12,
        extra_body={"routing": {"trace": True}},
    )
    assert once.usage is not None
    assert voted.model_extra is not None
    (call,) = voted.model_extra["roundhouse"]["calls"]
    assert call["prompt_tokens"] == once.usage.prompt_tokens


@pytest.mark.parametrize(
    ("model", "gauge"),
    [
        ("smollm2", "vllm:num_requests_running"),
        ("smollm2-gguf", "llamacpp:requests_processing"),
    ],
)
def test_a_client_that_hangs_up_frees_the_engine(
    client: openai.OpenAI, house: RunningServer, model: str, gauge: str
) -> None:
    stream = client.chat.completions.create(
        model=f"ensemble:vote:3:{model}",
        messages=LONG,
        max_tokens=800,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    wait_for(lambda: metric(house, gauge, model) >= 1, 10, "request running")
    stream.close()
    waited = wait_for(lambda: metric(house, gauge, model) == 0, 10, "engine freed")
    print(f"freed after {waited:.2f} s")
