"""A Roundhouse that the commands find running: this process plays `roundhouse serve`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from common.config import Config
from common.instance import Instance, log_dir
from tests.fakes.running import FakeEngine
from tests.gateway.house import House

TOKEN = "token-of-this-start"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(model=["m", "gpt-4o-mini", "owner/model"]) as running:
        yield running


@pytest.fixture
def house(engine: FakeEngine) -> Iterator[House]:
    config = Config.model_validate(
        {
            "server": {"api_keys": ["nobody-knows"]},
            "defaults": {"engine": "openai"},
            "models": {
                "m": {"source": [engine.url, engine.url], "aliases": ["gpt-4o-mini"]},
                "owner/model": {"source": engine.url},
            },
        }
    )
    running = House(config, TOKEN)
    running.start()
    yield running
    running.stop()


def instance_on(port: int, **changes: object) -> Instance:
    given: dict[str, object] = {
        "pid": os.getpid(),
        "url": f"http://127.0.0.1:{port}",
        "port": port,
        "log_dir": str(log_dir(port)),
        "started_at": time.time(),
        "token": TOKEN,
    }
    return Instance(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture
def instance(house: House) -> Instance:
    here = instance_on(house.port)
    here.save()
    return here
