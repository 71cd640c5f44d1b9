"""`roundhouse config`, and the files that come with the checkout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cli.config import schema, show, validate
from common.config import Config
from common.config_file import load, read_document
from common.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.fixture
def printed_schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    schema()
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_schema_takes_the_configs(file: Path, printed_schema: dict[str, Any]) -> None:
    jsonschema.validate(read_document(file).data, printed_schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_editors_find_the_schema(file: Path, printed_schema: dict[str, Any]) -> None:
    modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
    assert modeline
    assert json.loads((file.parent / modeline[1]).read_text()) == printed_schema


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": {}},
        {},
        {"models": {"m": {}}},
        {"models": {"m": {"source": "a/b", "engine": "vlm"}}},
        {"models": {"m": {"source": "a/b"}}, "server": {"prot": 1}},
        {"models": {"m": {"source": "a/b", "placement": {"tp": 0}}}},
        {"models": {"m": {"source": "a/b"}}, "defaults": {"load_timeout": []}},
    ],
)
def test_the_schema_refuses_what_the_config_refuses(
    wrong: dict[str, Any], printed_schema: dict[str, Any]
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, printed_schema)
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(wrong)


def test_validate_checks_the_engines_arguments_too(tmp_path: Path) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("models: {m: {source: a/b, engine_args: {max_num_sequences: 3}}}\n")
    with pytest.raises(ConfigError, match=r"models\.m\.engine_args\.max_num_sequences: vLLM has"):
        validate(file)


def test_what_is_shown_can_be_loaded_but_for_the_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "box.yaml"
    file.write_text("""
server: {host: 0.0.0.0, api_keys: [first-secret, second-secret], drain_timeout: 90s}
models:
  m: {source: a/b, placement: {replicas: 2}, aliases: [x]}
""")
    monkeypatch.setenv("ROUNDHOUSE_SERVER__PORT", "9001")
    show(file, as_json=False)
    shown = capsys.readouterr().out
    assert "secret" not in shown
    again = tmp_path / "again.yaml"
    again.write_text(shown.replace("(hidden)", "hidden-away"))
    monkeypatch.delenv("ROUNDHOUSE_SERVER__PORT")
    config = load(again)
    assert (config.server.port, config.server.drain_timeout_s) == (9001, 90.0)
    assert config.server.api_keys == ("hidden-away", "hidden-away")
    assert config.models["m"].placement.replicas == 2


def test_headers_for_providers_are_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "far.yaml"
    file.write_text(
        "models: {m: {engine: openai, source: http://a, remote: {headers: {x-key: tell-nobody}}}}"
    )
    show(file, as_json=True)
    shown = capsys.readouterr().out
    assert json.loads(shown)["models"]["m"]["remote"]["headers"] == {"x-key": "(hidden)"}
    assert "tell-nobody" not in shown


def test_without_a_file_the_default_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.serve.default_models", lambda: ("embedded:smollm2",))
    show(None, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["models"] == {
        "smollm2": {
            "tasks": [],
            "quality": {},
            "source": "embedded:smollm2",
            "placement": "auto",
            "load": "start",
            "pinned": False,
            "max_model_len": "auto",
            "dtype": "auto",
            "aliases": [],
            "engine_args": {},
        }
    }
