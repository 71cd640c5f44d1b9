"""Each kind as users of openai-python ask for it, streamed and not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from router.ensembles.kinds import KINDS
from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.ensembles.conftest import Open

Sdk = Callable[..., openai.OpenAI]
Speakers = dict[str, FakeSpeaker]
ASKED: Any = [{"role": "user", "content": "What is 9 + 9?"}]
STEPS = [
    {"name": "draft", "model": "a", "template": "{question}"},
    {"name": "polish", "model": "b", "template": "Say it better: {steps.draft}"},
]
CHAIN = {"routing": {"ensemble": {"kind": "chain", "steps": STEPS}}}
HOW: dict[str, dict[str, Any]] = {
    "vote": {"model": "ensemble:vote:a+b+c"},
    "cascade": {"model": "cascade:a>b>c"},
    "compare": {"model": "ensemble:compare:a+b+c"},
    "fuse": {"model": "ensemble:fuse:a+b"},
    "best_of": {"model": "ensemble:best_of:2:a"},
    "verify": {"model": "ensemble:verify:a>b"},
    "decompose": {"model": "ensemble:decompose:a+b"},
    "chain": {"model": "a", "extra_body": CHAIN},
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole(open_house: Open, sdk: Sdk, kind: str) -> None:
    answer = sdk(open_house()).chat.completions.create(**HOW[kind], messages=ASKED, max_tokens=50)
    assert "18" in str(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model in ("a", "b", "c")
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 4
    assert len(answer.choices) == (3 if kind == "compare" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_streamed(open_house: Open, sdk: Sdk, kind: str) -> None:
    stream = sdk(open_house()).chat.completions.create(
        **HOW[kind],
        messages=ASKED,
        max_tokens=50,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    said = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "18" in "".join(said)
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert finishes.count("stop") == (3 if kind == "compare" else 1)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens >= 4


def test_the_headers_and_the_trace(open_house: Open, sdk: Sdk, speakers: Speakers) -> None:
    speakers["c"].say("It is 19.")
    raw = sdk(open_house()).chat.completions.with_raw_response.create(
        model="ensemble:vote:c+a+b", messages=ASKED, extra_body={"routing": {"trace": True}}
    )
    assert raw.headers["x-should-retry"] == "false"
    assert raw.headers["x-roundhouse-ensemble"] == "ensemble:vote:c+a+b"
    assert raw.headers["x-roundhouse-route"] == "ensemble vote of c, a, b"
    answer = raw.parse()
    assert raw.headers["x-roundhouse-model"] == answer.model
    assert answer.choices[0].message.content == "The answer is 18."
    told = answer.model_extra["roundhouse"] if answer.model_extra else {}
    assert told["kind"] == "vote"
    assert told["votes"]["18"] == 2.0
    assert {call["member"] for call in told["calls"]} == {"a", "b", "c"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == told["output_tokens"]


def test_compare_tells_what_each_took(open_house: Open, sdk: Sdk, speakers: Speakers) -> None:
    speakers["b"].say("Nineteen it is.")
    answer = sdk(open_house()).chat.completions.create(model="ensemble:compare:a+b", messages=ASKED)
    assert [choice.message.content for choice in answer.choices] == [
        "The answer is 18.",
        "Nineteen it is.",
    ]
    beside = [choice.model_extra["roundhouse"] for choice in answer.choices if choice.model_extra]
    assert [each["member"] for each in beside] == ["a", "b"]
    assert [each["output_tokens"] for each in beside] == [4, 3]
    assert all(each["took_s"] > 0 for each in beside)


def test_a_cascade_escalates_and_streams_its_last_step(
    open_house: Open, sdk: Sdk, speakers: Speakers
) -> None:
    speakers["a"].say("It is 17.")
    speakers["c"].say("After some thought the answer must be 18.")
    house = open_house()
    stream = sdk(house).chat.completions.create(
        model="cascade:a>b>c",
        messages=ASKED,
        stream=True,
        extra_body={"routing": {"trace": True}},
    )
    chunks = list(stream)
    said = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert said == ["After", " some", " thought", " the", " answer", " must", " be", " 18."]
    assert {chunk.model for chunk in chunks} == {"c"}
    told = chunks[-1].model_extra["roundhouse"] if chunks[-1].model_extra else {}
    assert told["escalations"] == ["c: no agreement"]


@pytest.mark.parametrize("kind", ["fuse", "chain", "decompose"])
def test_a_last_step_is_streamed_as_it_is_said(open_house: Open, sdk: Sdk, kind: str) -> None:
    stream = sdk(open_house()).chat.completions.create(**HOW[kind], messages=ASKED, stream=True)
    said = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
    assert said == ["The", " answer", " is", " 18."]
