"""A house whose engines can be made to fail, and what a client sees when they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.real.scarcity import Scarcity
from tests.real.serving import KEY, Row, RunningServer, wait_for

MESSAGES: Any = [{"role": "user", "content": "Say yes."}]


@dataclass
class Back:
    """`file` is the model of `plain` and `spare`; the others read the embedded one where it is."""

    server: RunningServer
    scarcity: Scarcity
    file: Path


def config(file: Path) -> dict[str, Any]:
    """It lets nobody wait: when both servers of `small` are at work, that model is full."""
    two_slots = {"max_model_len": 512, "engine_args": {"n_parallel": 2}}
    return {
        "server": {"max_queued": 0},
        "defaults": {"first_token_timeout": "5s", "stall_timeout": "120s"},
        "router": {
            "policy": "round_robin",
            "breaker": {"failures": 2, "open": "4s", "successes": 2},
            "fallbacks": {"plain": ["spare"], "scarce": ["spare"]},
        },
        "models": {
            "small": {
                "source": "embedded:smollm2-gguf",
                "max_model_len": 512,
                "placement": {"replicas": 2},
                "engine_args": {"n_parallel": 1},
            },
            "plain": {
                "source": str(file),
                "max_model_len": 512,
                "engine_args": {"n_parallel": 2, "use_jinja": False},
            },
            "spare": {"source": str(file), **two_slots},
            "scarce": {
                "source": "embedded:smollm2-gguf",
                "max_model_len": 4096,
                "engine_args": {"n_parallel": 4},
            },
        },
    }


@contextmanager
def client_of(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


def sample(client: openai.OpenAI, name: str, **labels: str) -> float:
    """A metric of the server that the client speaks to; 0 where it was never counted."""
    page = httpx.get(
        str(client.base_url).replace("/v1/", "/metrics"),
        headers={"authorization": f"Bearer {client.api_key}"},
        trust_env=False,
    ).text
    return next(
        (
            each.value
            for family in text_string_to_metric_families(page)
            for each in family.samples
            if each.name == name and labels.items() <= each.labels.items()
        ),
        0.0,
    )


def ask(client: openai.OpenAI, model: str, *, stream: bool, **more: Any) -> Any:
    """The answer's headers; its text has come, and every part of it names the same model."""
    asked = {"model": model, "messages": MESSAGES, "max_tokens": 4, **more}
    raw = client.chat.completions.with_raw_response.create(**asked, stream=stream)
    parts: list[Any] = list(raw.parse()) if stream else [raw.parse()]
    assert {part.model for part in parts} == {raw.headers["x-roundhouse-model"]}
    assert any(choice.finish_reason for part in parts for choice in part.choices)
    return raw.headers


def check_fallback(
    client: openai.OpenAI, model: str, to: str, trigger: str, *, stream: bool, **more: Any
) -> Any:
    """`to` answers, and headers and metrics tell why."""
    labels = {"from": model, "to": to, "reason": trigger}
    before = sample(client, "roundhouse_fallbacks_total", **labels)
    headers = ask(client, model, stream=stream, **more)
    assert headers["x-roundhouse-model"] == to
    assert headers["x-roundhouse-route"].endswith(f"fallback from {model}: {trigger}")
    assert sample(client, "roundhouse_fallbacks_total", **labels) == before + 1
    return headers


def refused(client: openai.OpenAI, model: str, **more: Any) -> list[openai.APIStatusError]:
    """What is told when nobody can stand in, of a whole answer and of a stream."""
    told = []
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, model, stream=stream, **more)
        told.append(caught.value)
    return told


def engine_of(server: RunningServer, replica: str) -> psutil.Process:
    below = psutil.Process(server.rows()[replica]["pid"]).children(recursive=True)
    return next(p for p in below if "engines.llamacpp_server" in p.cmdline())


def has_failed(server: RunningServer, replica: str) -> bool:
    return bool(server.rows().get(replica, {}).get("state") == "failed")


def kill_until_it_fails(server: RunningServer, replica: str) -> Row:
    """Its row once the start that follows has failed; the next one is half a minute away."""
    engine_of(server, replica).kill()
    wait_for(lambda: has_failed(server, replica), 60, "failed start", server.tail)
    return server.rows()[replica]
