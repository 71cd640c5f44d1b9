"""A question and a chat, over a gateway and a fake engine."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cli import chat as chat_module
from cli.chat import Conversation, Settings, chat
from common.errors import EngineError, NotAnsweringError, UsageError
from common.instance import Instance
from tests.fakes.running import FakeEngine
from tests.gateway.house import House

SHORT = Settings(max_tokens=3)


def asked(engine: FakeEngine) -> dict[str, object]:
    body: dict[str, object] = json.loads(engine.stats()["last"]["body"])
    return body


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize("model", ["m", "gpt-4o-mini", "owner/model"])
def test_one_question(engine: FakeEngine, capsys: pytest.CaptureFixture[str], model: str) -> None:
    chat(model, "How are you?", None, Settings("Be short.", 3, 0.0))
    assert capsys.readouterr().out == "t0 t1 t2 \n"
    assert asked(engine) == {
        "model": model,
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "How are you?"},
        ],
        "stream": True,
        "max_tokens": 3,
        "temperature": 0.0,
    }


@pytest.mark.usefixtures("instance")
def test_a_question_from_a_pipe(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    chat("m", "", None, SHORT)
    assert capsys.readouterr().out == "t0 t1 t2 \n"
    assert asked(engine)["messages"] == [{"role": "user", "content": "from a pipe"}]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("instance")
def test_a_chat_remembers_until_it_is_cleared(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["first", "", "second", "/clear", "third", "/exit", "never"])
    remembered: list[list[str]] = []

    def typed(prompt: str) -> str:
        if engine.stats()["last"]:
            messages = asked(engine)["messages"]
            assert isinstance(messages, list)
            if not remembered or remembered[-1] != [m["content"] for m in messages]:
                remembered.append([m["content"] for m in messages])
        return next(lines)

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", typed)
    chat("m", "", None, SHORT)
    assert remembered == [["first"], ["first", "t0 t1 t2 ", "second"], ["third"]]
    assert capsys.readouterr().out.count("t0 t1 t2 \n") == 3
    assert next(lines) == "never"


@pytest.mark.usefixtures("instance")
def test_the_servers_words_when_it_refuses(engine: FakeEngine) -> None:
    engine.behave(mode="status", status=400)
    with pytest.raises(EngineError, match=r"^a fake fault$"):
        chat("m", "hi", None, SHORT)


@pytest.mark.usefixtures("instance")
def test_an_answer_that_breaks_off(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.behave(mode="cut_stream", n=1)
    with pytest.raises(EngineError, match="the answer broke off: replica m-0 "):
        chat("m", "hi", None, SHORT)
    assert capsys.readouterr().out == "t0 "


def test_a_server_that_goes_away_is_told(engine: FakeEngine, instance: Instance) -> None:
    """Straight to the engine: the gateway would mend it."""
    direct = replace(instance, url=engine.url)
    conversation = Conversation(direct, "m", SHORT)
    engine.behave(mode="cut_stream", n=1)
    with pytest.raises(NotAnsweringError, match=r"http://127\.0\.0\.1:\d+ does not answer: "):
        conversation.ask("hi")
    engine.kill()
    with pytest.raises(NotAnsweringError, match="does not answer: "):
        conversation.ask("hi")


@pytest.mark.usefixtures("instance")
def test_a_name_that_is_not_served_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError) as refused:
        chat("mm", "hi", None, SHORT)
    assert refused.value.message == (
        "no model 'mm' is served; there are: gpt-4o-mini, m, owner/model"
    )


@pytest.mark.usefixtures("house")
def test_what_nobody_serves_is_started(
    monkeypatch: pytest.MonkeyPatch, instance: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[tuple[str, str]] = []

    def start(model: str, name: str) -> Iterator[tuple[Instance, str]]:
        started.append((model, name))
        yield instance, "m"

    instance.forget()
    monkeypatch.setattr(chat_module, "_started", start)
    chat("embedded:smollm2", "hi", None, SHORT)
    assert started == [("embedded:smollm2", "smollm2")]
    assert capsys.readouterr().out == "t0 t1 t2 \n"


def test_a_model_by_its_source_is_found_by_its_name(
    house: House, instance: Instance, engine: FakeEngine
) -> None:
    assert house.port == instance.port
    chat("owner/model", "hi", instance.port, SHORT)
    assert asked(engine)["model"] == "owner/model"
