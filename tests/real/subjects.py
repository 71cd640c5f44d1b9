"""The engines that one suite of client's tests is put to, and in what each differs.

A new engine is a function here and a name in REAL (a real model answers) or FAKE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.config import Config
from tests.fakes.cloud import KEY as CLOUDS_KEY
from tests.fakes.clouds import FakeCloud
from tests.fakes.running_ollama import FakeOllama
from tests.gateway import far
from tests.gateway.far import FarHouse
from tests.gateway.house import House, eventually
from tests.gateway.ollama_house import OllamaHouse
from tests.real.serving import KEY, RunningServer


@dataclass(frozen=True)
class Subject:
    """An engine behind a Roundhouse, as a client has it.

    `told` is what its answers call the model, `says` a word of its answer to the suite's question,
    `busy` how many requests the engine itself works on. `refuses` has the status that a client gets
    for what this engine cannot do; docs/engines.md lists the same.
    """

    url: str
    model: str
    told: str
    says: str
    alias: str = ""
    context_tokens: int = 0
    indexes_events: bool = True  # of Responses, as the SDK's own helper needs it
    busy: Callable[[], float] = lambda: 0
    refuses: Mapping[str, int] = field(default_factory=dict)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Lets what stands within pass, or sees it refused where this engine cannot do it."""
        if what not in self.refuses:
            yield
            return
        with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
            yield
        assert caught.value.status_code == self.refuses[what]


def vllm(house: RunningServer, _: ExitStack) -> Subject:
    return Subject(
        url=house.url,
        model="smollm2",
        told="smollm2",
        says="Paris",
        alias="gpt-4o-mini",
        context_tokens=2048,
        busy=lambda: metric(house, "vllm:num_requests_running", "smollm2"),
        refuses={"embeddings": 404, "greedy n": 400, "beyond the context": 400, "tools": 400},
    )


def llamacpp(house: RunningServer, _: ExitStack) -> Subject:
    return Subject(
        url=house.url,
        model="smollm2-gguf",
        told="smollm2-gguf",
        says="Étoile",  # docs/engines.md tells why
        alias="gpt-4.1-nano",
        context_tokens=1024,
        busy=lambda: metric(house, "llamacpp:requests_processing", "smollm2-gguf"),
        indexes_events=False,
        refuses={"embeddings": 501, "many n": 400},
    )


def remote(house: RunningServer, stack: ExitStack) -> Subject:
    """Somebody else's endpoint of OpenAI's API: another Roundhouse."""
    stack.enter_context(pytest.MonkeyPatch.context()).setenv(far.VARIABLE, KEY)
    entry = {
        "engine": "openai",
        "source": f"{house.url}/v1",
        "aliases": ["mine"],
        "remote": {"model": "smollm2", "api_key_env": far.VARIABLE},
    }
    here = vllm(house, stack)
    url = opened(stack, FarHouse, {"elsewhere": entry})
    return Subject(
        url=url,
        model="elsewhere",
        told="smollm2",
        says="Paris",
        alias="mine",
        context_tokens=here.context_tokens,
        busy=here.busy,
        refuses=here.refuses,
    )


def ollama(_: RunningServer, stack: ExitStack) -> Subject:
    fake = stack.enter_context(FakeOllama("llama3.2"))
    house = OllamaHouse(
        Config.model_validate(
            {
                "models": {"m": {"source": "ollama:llama3.2", "aliases": ["mine"]}},
                "ollama": {"base_url": fake.url},
            }
        )
    )
    house.start()
    stack.callback(house.stop)
    house.watch()
    eventually(lambda: house.dispatcher.settled)
    return Subject(house.url, "m", "llama3.2", "two", alias="mine", refuses={"count": 404})


def claude(_: RunningServer, stack: ExitStack) -> Subject:
    stack.enter_context(pytest.MonkeyPatch.context()).setenv(far.VARIABLE, CLOUDS_KEY)
    cloud = stack.enter_context(FakeCloud("anthropic"))
    url = opened(stack, FarHouse, {"m": far.claude(cloud, aliases=["mine"])})
    return Subject(url, "m", "claude-fake-1", "capital", alias="mine")


REAL = {"vllm": vllm, "llamacpp": llamacpp, "remote": remote}
FAKE = {"ollama": ollama, "anthropic": claude}


def opened(stack: ExitStack, kind: type[House], models: dict[str, Any]) -> str:
    house = kind(Config.model_validate({"models": models}))
    house.start()
    stack.callback(house.stop)
    return house.url


def metric(house: RunningServer, name: str, model: str) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(house.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and sample.labels["model"] == model
    )
