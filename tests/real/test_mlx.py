"""MLX behind the whole gateway: the embedded model on this CPU, and OpenAI's client.

MLX is slow on a CPU: some tokens a second, so prompts and answers here are short.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from engines import embedded
from tests.real.serving import CHECKOUT, KEY, RunningServer, wait_for

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("mlx_lm") is None,
        reason="mlx-lm is not installed: there are no packages for this platform",
    ),
]

CONTEXT_TOKENS, SLOTS = 512, 2
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
IMAGE: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]


@pytest.fixture(scope="module")
def mlx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = {
        "models": {
            "small": {
                "source": "embedded:smollm2",
                "engine": "mlx",
                "aliases": ["gpt-4o-mini"],
                "max_model_len": CONTEXT_TOKENS,
                "engine_args": {"decode_concurrency": SLOTS},
            }
        }
    }
    with RunningServer(config, tmp_path_factory.mktemp("mlx")) as server:
        yield server.wait_ready()


@pytest.fixture(scope="module")
def client(mlx: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{mlx.url}/v1", api_key=KEY, max_retries=0, timeout=300) as client:
        yield client


def chat(client: openai.OpenAI, **options: Any) -> Any:
    asked = {"model": "small", "messages": QUESTION, "temperature": 0, "max_tokens": 10}
    return client.chat.completions.create(**{**asked, **options})


def test_a_chat_is_answered_as_the_model_has_learned(client: openai.OpenAI) -> None:
    answer = chat(client, model="gpt-4o-mini", logprobs=True, top_logprobs=2)
    (choice,) = answer.choices
    assert answer.model == "small"
    assert choice.message.content == "The capital of France is Paris."
    assert choice.finish_reason == "stop"
    assert answer.usage.completion_tokens == len(choice.logprobs.content)
    assert all(token.logprob <= 0 for token in choice.logprobs.content)


def test_a_stream_says_the_same_and_stops_before_the_word(client: openai.OpenAI) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, "stop": [" Paris"]}
    chunks = list(chat(client, **options))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "The capital of France is"
    assert chunks[-1].usage.completion_tokens >= 5
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens > 20  # of the chat before


def test_a_text_is_completed(client: openai.OpenAI) -> None:
    told = client.completions.create(model="small", prompt="One, two, three,", max_tokens=2)
    assert told.choices[0].text
    assert told.usage is not None
    assert told.usage.completion_tokens == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 2}, "n: must be 1"),
        ({"response_format": {"type": "json_object"}}, "response_format: must be text"),
        ({"tool_choice": "required"}, "tool_choice: must be auto or none"),
        ({"messages": IMAGE}, "text only"),
        ({"extra_body": {"adapters": "/elsewhere"}}, "adapters: is no field"),
        ({"extra_body": {"top_k": "many"}}, "top_k must be of type int"),
        ({"messages": [{"role": "user", "content": "word " * CONTEXT_TOKENS}]}, "context size"),
    ],
)
def test_what_it_cannot_do_is_an_error_of_openais_shape(
    client: openai.OpenAI, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, **options)
    assert said in caught.value.message
    assert caught.value.type == "invalid_request_error"
    if said == "context size":
        assert caught.value.code == "context_length_exceeded"


def test_a_route_that_it_lacks_is_told(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(model="small", input="Hello")
    assert caught.value.status_code == 501
    assert "engine mlx has no route /v1/responses" in caught.value.message


@pytest.mark.anyio
async def test_more_requests_than_slots_wait_and_none_fails(mlx: RunningServer) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{mlx.url}/v1", api_key=KEY, max_retries=0, timeout=300
    ) as client:
        asked = (
            client.chat.completions.create(model="small", messages=QUESTION, max_tokens=2)
            for _ in range(2 * SLOTS)
        )
        answers = await asyncio.gather(*asked)
    assert [answer.usage.completion_tokens for answer in answers if answer.usage] == [2] * 2 * SLOTS


def test_a_client_that_hangs_up_frees_it(mlx: RunningServer, client: openai.OpenAI) -> None:
    """Long before its answer would have ended; a whole answer, which is written at its end."""
    count: Any = [{"role": "user", "content": "Count from one to five hundred in words."}]
    with pytest.raises(openai.APITimeoutError):
        chat(client, messages=count, max_tokens=400, timeout=3)
    running = 'mlx:requests_running{model="small",replica="small-0"} 0.0'
    wait_for(lambda: running in mlx.get("/metrics").text, 60, "end of the answer")


def test_its_prompt_cache_is_counted(mlx: RunningServer) -> None:
    text = mlx.get("/metrics").text
    assert 'mlx:prompt_tokens_cached_total{model="small",replica="small-0"}' in text


def test_a_killed_server_comes_back(mlx: RunningServer, client: openai.OpenAI) -> None:
    """Last: the process of mlx_lm.server is killed, and the replica starts anew."""
    (server,) = [p for p in mlx.processes() if "engines.mlx_server" in p.cmdline()]
    assert all(KEY not in word and mlx.token not in word for word in server.cmdline())
    server.kill()
    wait_for(lambda: mlx.rows()["small-0"]["restarts"] == 1, 120, "restart of the replica")
    wait_for(lambda: mlx.admin()["settled"], 120, "the replica ready again")
    assert chat(client, max_tokens=2).choices[0].message.content == "The capital"
    assert not psutil.pid_exists(server.pid)


def test_the_embedded_model_without_torch_is_the_same(smollm2: Path, tmp_path: Path) -> None:
    """Where only MLX is installed, it is converted by MLX."""
    from tokenizers import Tokenizer

    gguf = embedded.cached_gguf("smollm2") or embedded.fetch_gguf("smollm2", print)
    eos = embedded.EMBEDDED["smollm2"].eos_token
    command = [sys.executable, "-m", "engines.mlx_embedded", str(gguf), str(tmp_path), eos]
    subprocess.run(command, check=True, cwd=CHECKOUT, timeout=300)
    assert tensors(tmp_path) == tensors(smollm2)
    ours, theirs = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (tmp_path, smollm2))
    words = "<|im_start|>user\nWhat's up, wörld? 한국어 x**2<|im_end|>\n"
    assert ours.encode(words).ids == theirs.encode(words).ids
    keys = ("vocab_size", "head_dim", "rms_norm_eps", "rope_parameters", "max_position_embeddings")
    configs = [json.loads((f / "config.json").read_text()) for f in (tmp_path, smollm2)]
    assert [configs[0][key] for key in keys] == [configs[1][key] for key in keys]


def tensors(folder: Path) -> dict[str, str]:
    """A digest of each tensor's type, shape and bytes."""
    content = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, told in header.items():
        begin, end = (8 + size + offset for offset in told["data_offsets"])
        digest = hashlib.sha256(content[begin:end]).hexdigest()
        found[name] = f"{told['dtype']} {told['shape']} {digest}"
    return found
