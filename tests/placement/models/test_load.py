"""From a path to facts, and what is said of paths that lead nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import UsageError
from placement.models.load import load
from tests.placement.models import files
from tests.placement.models.test_gguf import LLAMA, TENSORS


def test_a_folder(tmp_path: Path) -> None:
    facts = load(str(files.model_folder(tmp_path / "tiny")))
    assert (facts.name, len(facts.layers)) == ("tiny", 4)
    assert facts.stored is not None
    assert len(facts.stored.tensors) == 4 * 9 + 2


def test_a_folder_that_modelopt_wrote(tmp_path: Path) -> None:
    folder = files.model_folder(tmp_path / "tiny")
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    found = load(str(folder)).quantization
    assert found is not None
    assert (found.method, found.bits) == ("fp8", 8)


def test_a_config_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(files.TINY))
    facts = load(str(tmp_path / "config.json"))
    assert (len(facts.layers), facts.stored) == (4, None)


def test_gguf_files(tmp_path: Path) -> None:
    files.gguf(tmp_path / "one.gguf", LLAMA, TENSORS)
    assert load(str(tmp_path / "one.gguf")) == load(str(tmp_path))
    files.gguf(tmp_path / "two.gguf", LLAMA, TENSORS)
    with pytest.raises(UsageError, match=r"one\.gguf, two\.gguf"):
        load(str(tmp_path))


@pytest.mark.parametrize("source", ["nowhere", "/no/where", "no/model.gguf", "a/b/c", "x/y z"])
def test_what_names_no_model(source: str) -> None:
    with pytest.raises(UsageError, match="names no model"):
        load(source)


def test_folders_and_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a config\.json nor a \.gguf file"):
        load(str(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UsageError, match=r"neither a \.gguf file nor a config\.json"):
        load(str(tmp_path / "a.txt"))


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON"), ("[1]", "no JSON object")])
def test_a_config_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        load(str(tmp_path / "config.json"))
