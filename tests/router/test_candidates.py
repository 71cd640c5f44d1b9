"""What engines report of their models, in the choice among these."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from common.config import Config
from engines.base import EngineStatus, State
from router.auto import Wish
from router.candidates import facts_of, of_lanes, of_profiles, profile_of
from router.catalog.profile import Profile
from router.choice import Candidate, Needs, choose
from router.classify import of_text
from router.conversations import Marks
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


def priced(**models: dict[str, Any]) -> Dispatcher:
    entries = {name: {"source": URL, "engine": "openai", **m} for name, m in models.items()}
    names = list(entries)
    config = Config.model_validate({"models": entries})
    return Dispatcher(config, [Replica(f"{name}-0", name, 4) for name in names])


def test_a_remote_models_price_is_its_cost_where_none_is_given() -> None:
    house = priced(
        dear={"price": {"input": 10, "output": 50}},
        said={"price": {"input": 10, "output": 50}, "cost_per_million_tokens": 3},
        unknown={},
    )
    costs = {each.name: each.cost_per_million_tokens for each in of_profiles(profiles(house))}
    assert costs == {"dear": pytest.approx(18.0), "said": 3.0, "unknown": None}


def test_a_published_price_is_too() -> None:
    pytest.importorskip("genai_prices")
    entry = {"source": "anthropic", "engine": "anthropic", "remote": {"model": "claude-sonnet-4-5"}}
    config = Config.model_validate({"models": {"claude": entry}})
    found = profile_of(config, "claude").cost_per_million_tokens
    assert found is not None
    assert found > 0


def test_strategy_cost_goes_by_prices_alone() -> None:
    """Equally good, so the cheaper one; by their order or their names it would be the other."""
    good = {"quality": {"general": 0.9, "creative": 0.9}}
    house = priced(
        a={"price": {"input": 30, "output": 150}, **good},
        b={"price": {"input": 0.1, "output": 0.4}, **good},
    )
    for name in ("a-0", "b-0"):
        house.report(name, EngineStatus(State.READY, url=URL))
    said = of_text("Write a short poem about the first snow in Seoul.")
    chosen = {
        strategy: house.decide(said, Wish(strategy=strategy), marks=Marks(), now=0.0).model
        for strategy in ("quality", "cost")
    }
    assert chosen == {"quality": "a", "cost": "b"}


def profiles(house: Dispatcher) -> list[Profile]:
    return list(house.profiles.values())


def test_an_embedding_model_is_not_chosen_to_write() -> None:
    """By its name alone, since no engine tells; unless the config says what it is good for."""
    source = {"source": "Qwen/Qwen3-Embedding-0.6B", "engine": "vllm"}
    config = Config.model_validate(
        {"models": {"plain": source, "declared": {**source, "tasks": ["general"]}}}
    )
    found = of_profiles(profile_of(config, name) for name in config.models)
    assert {each.name: each.writes for each in found} == {"plain": False, "declared": True}
    choice = choose(SimpleNamespace(task="math", confidence=1.0, language="en"), Needs(), found)
    assert choice.model == "declared"
    assert choice.refused == (("plain", "writes no text"),)
