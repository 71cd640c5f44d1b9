"""`roundhouse config apply` against a gateway that runs in this process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.apply import apply
from common.config import Config
from common.errors import ConfigError, StartError, UsageError
from engines.manager.roster import roster_of
from gateway.applying import Applying
from gateway.setup import Setup, in_force
from placement.inventory.look import look
from tests.cli.conftest import TOKEN, instance_on
from tests.fakes.running import FakeEngine
from tests.gateway.house import House

PORT = 8000  # of the config; the house listens elsewhere


@pytest.fixture
def house(engine: FakeEngine, tmp_path: Path) -> Iterator[House]:
    config = Config.model_validate(data(engine, "m"))
    running = House(config, TOKEN)
    running.start()
    with warnings.catch_warnings(action="ignore"):  # of Ray's own
        import serve_app
    made, _ = serve_app.plan(config, look(), print)
    setup = Setup(
        config.model_copy(deep=True), made, (), roster_of(config, made), TOKEN, path=str(tmp_path)
    )
    setup.save()
    running.gateway.applying = Applying(running.gateway, setup, lambda setup: None)
    instance_on(PORT, url=running.url).save()
    yield running
    running.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "roundhouse.yaml"


def data(engine: FakeEngine, *names: str, **sections: Any) -> dict[str, Any]:
    models = {name: {"source": engine.url, "engine": "openai"} for name in names}
    return {"models": models, **sections}


def test_the_file_is_applied_and_told(
    house: House, engine: FakeEngine, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(yaml.safe_dump(data(engine, "m", "n", router={"strategy": "cost"})))
    apply(file, None, dry_run=True, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["applied"], told["added"], told["unchanged"]) == (False, ["n"], ["m"])
    assert list(house.dispatcher.lanes) == ["m"]
    apply(file, None, dry_run=False, as_json=False)
    shown = capsys.readouterr().out
    assert "n      added\n" in shown
    assert "m      unchanged\n" in shown
    assert "router.strategy: changed" in shown
    assert list(house.dispatcher.lanes) == ["m", "n"]
    now = in_force(PORT, TOKEN)
    assert now is not None
    assert now.path == str(file)


def test_without_a_name_it_is_the_file_of_the_last_time(
    house: House, engine: FakeEngine, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(yaml.safe_dump(data(engine, "m", "n")))
    apply(file, None, dry_run=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["added"] == ["n"]
    file.write_text(yaml.safe_dump(data(engine, "m")))
    apply(None, None, dry_run=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["removed"] == ["n"]
    assert list(house.dispatcher.lanes) == ["m"]


def test_what_is_wrong_is_told_by_its_line(house: House, file: Path) -> None:
    file.write_text("models:\n  m: {source: a/b, engnie: vllm}\n")
    with pytest.raises(ConfigError, match=r"roundhouse.yaml:2: models.m.engnie: unknown key"):
        apply(file, None, dry_run=False, as_json=False)
    assert list(house.dispatcher.lanes) == ["m"]


def test_what_needs_a_restart_is_refused_and_a_dry_run_shows_it(
    house: House, engine: FakeEngine, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(yaml.safe_dump(data(engine, "m", server={"port": 9})))
    with pytest.raises(UsageError, match=r"needs a restart: server.port; nothing was changed"):
        apply(file, None, dry_run=False, as_json=False)
    apply(file, None, dry_run=True, as_json=False)
    assert "server.port: needs a restart" in capsys.readouterr().out


def test_another_apply_in_between_is_told(house: House, engine: FakeEngine, file: Path) -> None:
    file.write_text(yaml.safe_dump(data(engine, "m", "n")))
    assert house.gateway.applying
    running = house.gateway.applying.setup
    house.gateway.applying.setup = Setup(
        running.config, running.plan, (), running.roster, TOKEN, before=running.id
    )
    with pytest.raises(StartError, match="another config has been applied meanwhile"):
        apply(file, None, dry_run=False, as_json=False)
    assert list(house.dispatcher.lanes) == ["m"]
