"""A gateway over models with words of their own: a, b and c."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fakes.running_speaker import FakeSpeaker
from tests.gateway.conftest import Build
from tests.gateway.house import House, events, eventually

NAMES = ("a", "b", "c")
Open = Callable[..., House]


@pytest.fixture(scope="session")
def _speakers() -> Iterator[dict[str, FakeSpeaker]]:
    with ExitStack() as stack:
        yield {n: stack.enter_context(FakeSpeaker(model=[n], name=n)) for n in NAMES}


@pytest.fixture
def speakers(_speakers: dict[str, FakeSpeaker]) -> dict[str, FakeSpeaker]:
    """Each says that it is 18."""
    for speaker in _speakers.values():
        eventually(lambda speaker=speaker: speaker.stats()["in_flight"] == 0)
        speaker.reset()
        speaker.say("The answer is 18.")
    return _speakers


@pytest.fixture
def open_house(build: Build, speakers: dict[str, FakeSpeaker]) -> Open:
    """The three models; `models` has keys for theirs, other sections by name."""

    def opened(models: dict[str, Any] | None = None, **sections: Any) -> House:
        entries = {
            name: {"source": [speaker.url], **(models or {}).get(name, {})}
            for name, speaker in speakers.items()
        }
        return build(models=entries, **sections)

    return opened


def said(text: str) -> str:
    """What a chat stream says."""
    choices = [c for e in events(text) if '"delta"' in e for c in json.loads(e)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def running(speakers: dict[str, FakeSpeaker]) -> int:
    return sum(speaker.stats()["in_flight"] for speaker in speakers.values())
