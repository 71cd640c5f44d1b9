"""`roundhouse load`, `unload` and what `ps` says of models that come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.life import load, unload
from cli.listing import ps
from common.config import Config
from common.errors import EngineLoadError, UsageError
from tests.cli.conftest import instance_on
from tests.fakes.running import FakeEngine
from tests.gateway.house import eventually
from tests.gateway.managed import FakeShed, ManagedHouse, gguf


@pytest.fixture
def shed(engine: FakeEngine) -> FakeShed:
    return FakeShed(engine)


@pytest.fixture
def both(shed: FakeShed) -> Iterator[ManagedHouse]:
    """m is loaded, owner/model is not; there is room for one."""
    models = {"m": gguf(keep_alive="1h"), "owner/model": gguf()}
    house = ManagedHouse(Config.model_validate({"models": models}), shed, 1, ["owner/model"])
    house.start()
    instance_on(house.port).save()
    eventually(lambda: house.states()["m"] == "ready")
    yield house
    house.stop()


def test_load_and_unload(both: ManagedHouse, capsys: pytest.CaptureFixture[str]) -> None:
    load("owner/model", None, "2h", wait=True, json=False)
    assert capsys.readouterr().out == "owner/model: ready (0 MiB on ram)\n"
    assert both.states() == {"m": "cold", "owner/model": "ready"}
    unload("owner/model", None, wait=True, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["state"], told["held_bytes"]) == ("owner/model", "cold", {})


def test_a_load_need_not_be_waited_for(
    both: ManagedHouse, shed: FakeShed, capsys: pytest.CaptureFixture[str]
) -> None:
    shed.held.add("owner/model")
    load("owner/model", None, None, wait=False, json=False)
    assert capsys.readouterr().out.startswith("owner/model: ")
    eventually(lambda: both.states()["owner/model"] == "loading")
    shed.let("owner/model")


def test_a_load_that_fails_is_an_error_with_the_engines_words(
    both: ManagedHouse, shed: FakeShed
) -> None:
    shed.failing["owner/model"] = ("CUDA out of memory", "out_of_memory")
    for _ in range(2):  # as it fails, and while nobody tries again
        with pytest.raises(EngineLoadError, match="CUDA out of memory"):
            load("owner/model", None, None, wait=True, json=False)
    assert both.loads()["owner/model"] == 1


@pytest.mark.usefixtures("both")
def test_names_and_wishes_that_there_are_none_of() -> None:
    with pytest.raises(UsageError, match="no model 'mm'; did you mean 'm'"):
        load("mm", None, None, wait=False, json=False)
    with pytest.raises(UsageError, match="'soon' is no keep_alive"):
        load("m", None, "soon", wait=False, json=False)
    with pytest.raises(UsageError, match="no model 'nobody'"):
        unload("nobody", None, wait=True, json=False)


def test_ps_tells_what_is_loaded_and_for_how_long(
    both: ManagedHouse, shed: FakeShed, capsys: pytest.CaptureFixture[str]
) -> None:
    ps(None, as_json=False)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["m-0", "ready"]
    assert "loaded, for " in first
    assert second.split()[:2] == ["owner/model-0", "cold"]
    assert second.endswith("not loaded")
    ps(None, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["model_state"] for row in rows] == ["ready", "cold"]

    shed.failing["owner/model"] = ("unknown model architecture: 'x'", "engine_load_failed")
    with pytest.raises(EngineLoadError):
        load("owner/model", None, None, wait=True, json=False)
    eventually(lambda: both.states()["owner/model"] == "failed")
    ps(None, as_json=False)
    assert "unknown model architecture: 'x'" in capsys.readouterr().out
