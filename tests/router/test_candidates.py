"""What engines report of their models, in the choice among these."""

from __future__ import annotations

from typing import Any

import pytest

from common.config import Config
from engines.base import EngineStatus, State
from router.candidates import facts_of, of_lanes
from router.choice import Candidate
from router.dispatch import Dispatcher
from router.replicas import Replica

URL = "http://127.0.0.1:1"


def dispatcher(**model: Any) -> Dispatcher:
    entry = {"source": "ollama:something", **model}
    config = Config.model_validate({"models": {"m": entry}})
    return Dispatcher(config, [Replica("m-0", "m", 4)])


def candidate(house: Dispatcher) -> Candidate:
    (found,) = of_lanes(house.lanes, house.profiles)
    return found


def ready(**told: Any) -> EngineStatus:
    return EngineStatus(State.READY, url=URL, **told)


def test_an_engine_that_tells_nothing_changes_nothing() -> None:
    assert facts_of(ready(max_model_len=9)) is None
    house = dispatcher()
    before = house.profiles["m"]
    house.report("m-0", ready())
    assert house.profiles["m"] is before


def test_what_it_tells_binds() -> None:
    house = dispatcher()
    assert (candidate(house).tools, candidate(house).modalities) == (None, None)
    told = ready(tools=False, modalities=frozenset({"text", "image"}), size_b=3.2, max_model_len=8)
    house.report("m-0", told)
    found = candidate(house)
    assert found.tools is False
    assert found.modalities == {"text", "image"}
    assert found.max_model_len == 8
    assert house.profiles["m"].size_b == 3.2
    known = house.profiles["m"]
    house.report("m-0", told)
    assert house.profiles["m"] is known  # not worked out again at every report
    house.report("m-0", ready(tools=True, size_b=3.2))
    assert candidate(house).tools is True


def test_the_config_wins() -> None:
    house = dispatcher(tools=True, modalities=["audio"])
    house.report("m-0", ready(tools=False, modalities=frozenset({"text"})))
    assert candidate(house).tools is True
    assert candidate(house).modalities == {"text", "audio"}


@pytest.mark.parametrize(("loaded", "counts"), [(True, True), (False, False), (None, True)])
def test_ready_without_the_model_in_memory_is_not_loaded(loaded: bool | None, counts: bool) -> None:
    house = dispatcher()
    house.report("m-0", ready(loaded=loaded))
    assert candidate(house).loaded is counts
    assert candidate(house).healthy


def test_a_lost_replica_is_told_nothing_of() -> None:
    house = dispatcher()
    house.report("m-0", ready(tools=True))
    house.report("m-0", None)
    assert candidate(house).tools is True
    assert not candidate(house).loaded
