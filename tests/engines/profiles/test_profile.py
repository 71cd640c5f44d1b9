"""The user's word before the files', and what a change of the files is told as."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import ModelConfig
from engines.profiles import memory
from engines.profiles import profile as profiles
from engines.profiles.found import found
from engines.profiles.local import in_folder
from tests.engines.profiles import model_files as files


def test_what_the_user_wrote_wins(tmp_path: Path) -> None:
    source = str(files.folder(tmp_path / "m", template=files.TOOLS_TEMPLATE))
    told = profiles.of_config(
        ModelConfig(source=source, max_model_len=128, tools=False, modalities=("image",))
    )
    assert told.get("max_model_len") == 128
    assert told.get("tools") is False
    assert told.get("modalities") == ("text", "image")
    assert {told.traits[n].origin for n in ("max_model_len", "tools", "modalities")} == {"config"}
    assert told.traits["architecture"].origin == "config.json"
    auto = profiles.of_config(ModelConfig(source=source))
    assert (auto.get("max_model_len"), auto.get("tools")) == (512, True)


@pytest.mark.parametrize(
    "source", ["http://x/v1", "embedded:nothing", "no/where", "nothing", "/no"]
)
def test_what_is_not_here_is_not_known(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert profiles.of_source(source).traits == {}


def test_a_folder_of_models(tmp_path: Path) -> None:
    one = files.gguf_file(tmp_path / "a" / "one.gguf")
    (tmp_path / "a" / "mmproj-one.gguf").write_bytes(b"GGUF")
    two = files.folder(tmp_path / "two")
    here = list(in_folder(str(tmp_path)))
    assert [(m.source, m.where) for m in here] == [(str(one), "folder"), (str(two), "folder")]
    assert here[0].n_bytes == one.stat().st_size
    assert list(in_folder(str(tmp_path / "missing"))) == []


def test_changes_are_told_once(tmp_path: Path) -> None:
    file = tmp_path / "profiles.json"
    first = found("config.json", max_model_len=512, modalities=("text",))
    assert memory.changes("org/m", first, file) == []
    assert memory.changes("org/m", first, file) == []
    assert memory.changes("org/m", found("x"), file) == []  # gone for now: nothing is known
    second = found("config.json", max_model_len=1024, tools=True)
    told = memory.changes("org/m", second, file)
    assert sorted(told) == [
        "max_model_len: 512 -> 1024",
        "modalities: text -> not known",
        "tools: not known -> True",
    ]
    assert memory.changes("org/m", second, file) == []
    assert memory.changes("org/other", second, file) == []


def test_a_broken_memory_is_no_memory(tmp_path: Path) -> None:
    file = tmp_path / "profiles.json"
    file.write_text("{broken")
    assert memory.changes("m", found("x", tools=True), file) == []
    assert memory.changes("m", found("x", tools=False), file) == ["tools: True -> False"]
    unwritable = tmp_path / "file" / "profiles.json"
    (tmp_path / "file").write_text("")
    assert memory.changes("m", found("x", tools=True), unwritable) == []
