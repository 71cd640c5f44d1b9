"""docs/engines.md's example of an engine, from the page to an answer through the gateway."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest

from common.config import Config
from common.errors import ConfigError
from engines import registry
from engines.base import Engine, ReplicaSpec, State
from gateway.owned import of_spec
from placement.inventory.inventory import Cpu, Inventory
from placement.models.load import load
from placement.plan import planner
from router.replicas import Replica
from tests.engines.specs import spec_of
from tests.gateway.house import House, eventually
from tests.placement.models.files import model_folder

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
BOX = Inventory(Cpu("CPU", (0, 1), ((0, 1),), 16 << 30, 16 << 30))


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a file that both this process and its child can import, and registered."""
    fenced = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    (code,) = fenced.findall(PAGE.read_text(encoding="utf-8"))
    assert len(code.splitlines()) <= 40
    (tmp_path / "echo_of_the_docs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = importlib.import_module("echo_of_the_docs")
    monkeypatch.setitem(registry.OWNED, "echo", module.Echo())
    return module


@pytest.fixture
def config(echo: ModuleType, tmp_path: Path) -> Config:
    """The names of engines are fixed in the config's schema, so this one is set past it."""
    folder = model_folder(tmp_path / "model")
    config = Config.model_validate({"models": {"m": {"source": str(folder), "engine": "vllm"}}})
    model = config.models["m"].model_copy(update={"engine": "echo"})
    return config.model_copy(update={"models": {"m": model}})


@pytest.fixture
def spec(config: Config, tmp_path: Path) -> ReplicaSpec:
    """As it is planned for a box with two cores."""
    kind, model = registry.OWNED["echo"], config.models["m"]
    kind.require_installed()
    source = str(kind.resolve("m", str(model.source), print))
    made = planner.make([kind.demand("m", model, load(source))], BOX, reserve_bytes=0)
    (placed,) = made.placements
    spec = ReplicaSpec(
        **spec_of(
            engine=config.engine_of("m"),
            source=source,
            served_names=("m",),
            log_path=str(tmp_path / "m-0.log"),
            max_model_len=placed.settings.max_model_len,
            cpu_ids=placed.cpu_ids,
            slots=kind.slots(model.engine_args),
            token="token-of-the-engine",
        )
    )
    assert (spec.id, spec.model) == ("m-0", "m")
    return spec


@pytest.fixture
def engine(spec: ReplicaSpec) -> Iterator[Engine]:
    engine = registry.create(spec)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def house(config: Config, spec: ReplicaSpec, engine: Engine) -> Iterator[House]:
    class OwnedHouse(House):
        def replicas(self, config: Config) -> dict[Replica, str]:
            return {of_spec(config, spec): engine.status().url or ""}

    eventually(lambda: engine.status().state is not State.LOADING)
    assert engine.status().state is State.READY, engine.status().error
    house = OwnedHouse(config)
    house.start()
    yield house
    house.stop()


def test_it_answers_through_the_gateway(house: House, spec: ReplicaSpec) -> None:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Is anybody there?"}]
        answer = client.chat.completions.create(model="m", messages=messages)
    assert answer.model == "m"
    assert answer.choices[0].message.content == "Is anybody there?"


def test_it_ends_when_it_is_told_to(engine: Engine, spec: ReplicaSpec) -> None:
    eventually(lambda: engine.status().state is State.READY)
    engine.stop()
    assert engine.status().url is None


def test_it_takes_no_arguments(echo: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"engine_args\.speed: this engine takes no"):
        registry.OWNED["echo"].check("m", {"speed": 1})
    registry.OWNED["echo"].check("m", {})
