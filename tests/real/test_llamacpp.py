"""llama.cpp behind the whole gateway, in what is its own; the rest is in test_engines_alike.py."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from engines import embedded
from tests.real.serving import (
    CHECKOUT,
    KEY,
    RunningServer,
    command,
    environment,
    free_port,
    run,
    wait_for,
    wait_gone,
)

pytestmark = pytest.mark.engine

MODEL, REPLICA = "smollm2-gguf", "smollm2-gguf-0"
CONTEXT_TOKENS, SLOTS = 1024, 4
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
COUNT: Any = [{"role": "user", "content": "Count from one to one hundred in words."}]


def words(count: int) -> Any:
    """A prompt of about that many tokens, and a few of the template."""
    return [{"role": "user", "content": "word " * count}]


@pytest.fixture(scope="module")
def llama(house: RunningServer) -> RunningServer:
    return house


@pytest.fixture(scope="module")
def client(llama: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{llama.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def chat(client: openai.OpenAI, messages: Any = QUESTION, **options: Any) -> Any:
    return client.chat.completions.create(
        **{"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 12, **options}
    )


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


def test_none_was_refused_or_asked_twice(llama: RunningServer) -> None:
    """As they would be if requests past the slots were sent, or closed connections kept."""
    assert llama.rows()[REPLICA]["max_in_flight"] == SLOTS
    assert llama.rows()[REPLICA]["restarts"] == 0
    assert f'roundhouse_retries_total{{model="{MODEL}"' not in llama.get("/metrics").text


@pytest.mark.anyio
async def test_slots_hold_more_than_their_share_of_one_context_at_once(
    llama: RunningServer,
) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{llama.url}/v1", api_key=KEY, max_retries=0, timeout=300
    ) as client:

        async def ask(number: int) -> int:
            said: Any = [{"role": "user", "content": f"{number} " + "word " * 300}]
            answer = await client.chat.completions.create(model=MODEL, messages=said, max_tokens=8)
            assert answer.usage is not None
            return answer.usage.prompt_tokens

        prompts = await asyncio.gather(*map(ask, range(2)))
    assert min(prompts) > 300 > 1024 / SLOTS


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/embeddings", 501), ("/v1/rerank", 501), ("/v1/score", 404)]
)
def test_what_it_does_not_support(llama: RunningServer, path: str, status: int) -> None:
    """docs/engines.md lists these."""
    told = llama.post(path, {"model": MODEL, "input": "x", "query": "x", "documents": ["y"]})
    assert told.status_code == status
    assert told.json()["error"]["message"]


def test_its_metrics_stand_beside_the_routers(llama: RunningServer) -> None:
    text = llama.get("/metrics").text
    assert f'llamacpp:prompt_tokens_total{{model="{MODEL}",replica="{REPLICA}"}}' in text
    assert "roundhouse_" in text


def test_a_killed_server_comes_back(llama: RunningServer, client: openai.OpenAI) -> None:
    """Last: the process of llama.cpp is killed, and the replica starts anew."""
    (server,) = [p for p in llama.processes() if "engines.llamacpp_server" in p.cmdline()]
    assert all(KEY not in word and llama.token not in word for word in server.cmdline())
    server.kill()
    wait_for(lambda: llama.rows()[REPLICA]["restarts"] == 1, 30, "restart of the replica")
    wait_for(lambda: llama.admin()["settled"], 30, "the replica ready again")
    assert chat(client, COUNT).choices[0].message.content
    assert not psutil.pid_exists(server.pid)


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user who has configured nothing; the model is on the disk."""
    models = embedded.models_dir()
    home = tmp_path / "home"
    home.mkdir()
    own = environment(tmp_path / "state") | {"HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    return {k: v for k, v in own.items() if k != "XDG_CACHE_HOME"} | {
        "ROUNDHOUSE_CACHE": str(models.parent)
    }


def test_a_gguf_file_is_served_with_nothing_else_configured(
    smollm2: Path, nothing: dict[str, str], tmp_path: Path
) -> None:
    del smollm2  # it is fetched
    gguf = embedded.cached_gguf("smollm2")
    assert gguf is not None
    (tmp_path / "some.gguf").symlink_to(gguf)
    port = str(free_port())
    with (tmp_path / "output.log").open("wb") as output:
        serving = subprocess.Popen(
            command("serve", "--model", "some.gguf", "--port", port),
            cwd=tmp_path,
            env=nothing,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        told = (tmp_path / "output.log").read_text
        wait_for(lambda: "Roundhouse is ready" in told(), 120, "welcome", told)
        asked = ("--port", port, "--max-tokens", "5", "some", "Hello")
        answer = run("run", *asked, env=nothing)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout.strip()
    finally:
        serving.terminate()
        assert serving.wait(60) == 0


def test_run_serves_the_embedded_gguf_for_one_question(
    smollm2: Path, nothing: dict[str, str], tmp_path: Path
) -> None:
    del smollm2  # it is fetched
    answer = subprocess.run(
        command("run", "embedded:smollm2-gguf", "Hello", "--max-tokens", "5"),
        cwd=tmp_path,
        env=nothing,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()
    wait_gone(tmp_path / "state")
