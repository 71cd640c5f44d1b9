"""A model's files reach the router's profile; the config stays above them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from common.config import Config
from engines.base import EngineStatus, State
from router.candidates import profiles_of
from router.dispatch import Dispatcher
from router.replicas import Replica
from tests.engines.profiles import model_files as files


def config_of(source: Path, **model: object) -> Config:
    return Config.model_validate({"models": {"m": {"source": str(source), **model}}})


def test_context_tools_and_size_come_from_the_files(tmp_path: Path) -> None:
    folder = files.folder(tmp_path / "unnamed", template=files.TOOLS_TEMPLATE)
    known = profiles_of(config_of(folder))["m"]
    assert known.max_model_len == 512
    assert known.tools is True
    assert known.modalities == {"text"}
    assert known.size_b == pytest.approx(0.000165, rel=0.1)
    assert known.quality["general"].basis == "prior"  # the size is enough for a guess


def test_the_config_stays_above_them(tmp_path: Path) -> None:
    folder = files.folder(tmp_path / "unnamed", template=files.TOOLS_TEMPLATE)
    config = config_of(folder, tools=False, max_model_len=99, modalities=["image"])
    known = profiles_of(config)["m"]
    assert (known.tools, known.max_model_len) == (False, 99)
    assert known.modalities == {"text", "image"}


def test_a_change_of_the_files_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = files.folder(tmp_path / "unnamed")
    with caplog.at_level(logging.WARNING):
        profiles_of(config_of(folder))
        assert caplog.messages == []
        files.folder(tmp_path / "unnamed", max_position_embeddings=2048)
        profiles_of(config_of(folder))
    assert f"the files of m ({folder}) changed: max_model_len: 512 -> 2048" in caplog.messages


def test_what_an_engine_tells_otherwise_after_a_restart_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = Config.model_validate({"models": {"m": {"source": "ollama:some"}}})

    def started_with(**told: object) -> None:
        house = Dispatcher(config, [Replica("m-0", "m", 4)])
        status = EngineStatus(State.READY, url="http://127.0.0.1:1", **told)  # type: ignore[arg-type]
        house.report("m-0", status)

    with caplog.at_level(logging.WARNING):
        started_with(tools=False, size_b=8.0)
        started_with(tools=False, size_b=8.0)
        assert caplog.messages == []
        started_with(tools=True, size_b=8.0)
    assert caplog.messages == ["what ollama tells of m (ollama:some) changed: tools: False -> True"]
