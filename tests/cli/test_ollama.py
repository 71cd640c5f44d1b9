"""Ollama's models at the command line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cli.listing import _in_memory
from cli.serve import _raise_if_failed, load_config, model_name, with_discovered
from common.errors import EngineLoadError
from tests.fakes.running_ollama import FakeOllama


def test_a_source_says_whose_the_model_is() -> None:
    config = load_config(None, ("ollama:qwen3:8b",), None, None)
    assert config.engine_of("qwen3:8b") == "ollama"
    assert model_name("ollama:llama3.2") == "llama3.2"


def test_serve_asks_the_server_for_its_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("ollama: {discover: true}\nmodels:\n  'a:1': {source: ollama:b}\n")
    with FakeOllama("a:1", "llama3.2") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        config = with_discovered(load_config(file, (), None, None))
    assert list(config.models) == ["a:1", "llama3.2:latest"]
    assert config.models["a:1"].source == "ollama:b"
    assert "Ollama's a:1 is left to the model of that name" in capsys.readouterr().err


def test_without_discover_it_is_as_it_was() -> None:
    config = load_config(None, ("ollama:a",), None, None)
    assert with_discovered(config) is config


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"loaded": None}, "-"),
        ({"loaded": False}, "not loaded"),
        ({"loaded": True, "vram_bytes": 3 << 30}, "3.0 GiB of VRAM"),
        ({"loaded": True, "vram_bytes": None, "loaded_until": "forever"}, "loaded, for ever"),
    ],
)
def test_ps_tells_what_is_in_memory(row: dict[str, Any], words: str) -> None:
    assert _in_memory(row) == words


def test_ps_tells_for_how_long() -> None:
    row = {"loaded": True, "vram_bytes": 1 << 30, "loaded_until": time.time() + 125}
    assert _in_memory(row).startswith("1.0 GiB of VRAM, for 2m 0")
    assert _in_memory(row | {"loaded_until": 0.0}).endswith("for 0s more")


def test_a_missing_model_ends_the_start_with_what_to_do() -> None:
    config = load_config(None, ("ollama:a",), None, None)
    row = {"id": "a-0", "state": "failed", "error": "Ollama has no model 'a': `ollama pull a`"}
    with pytest.raises(EngineLoadError, match="`ollama pull a`") as caught:
        _raise_if_failed([row], config)
    assert "router" in caught.value.message.rpartition("log: ")[2]
