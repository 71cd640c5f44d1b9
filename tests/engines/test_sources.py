from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from engines.sources import resolve, weights_bytes


def quiet(text: str) -> None:
    """Takes progress and does nothing with it."""


def test_a_folder_is_a_model_when_it_has_a_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.m\.source: .* holds no config\.json"):
        resolve("m", str(tmp_path), quiet)
    (tmp_path / "config.json").write_text("{}")
    assert resolve("m", str(tmp_path), quiet) == tmp_path


def test_unknown_embedded_models_are_told_with_the_known() -> None:
    with pytest.raises(ConfigError, match="no embedded model 'smol'; there are: smollm2"):
        resolve("m", "embedded:smol", quiet)


@pytest.mark.parametrize(
    "source", ["./nowhere", "/no/such/folder", "a b", "~/none", "owner/name:Q4_K_M"]
)
def test_what_is_neither_folder_nor_hub_id(source: str) -> None:
    with pytest.raises(ConfigError, match=r"no folder on this disk and no hub id \(owner/name, "):
        resolve("m", source, quiet)


def test_weights_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "b.safetensors").write_bytes(b"x" * 20)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 120)
    assert weights_bytes(tmp_path) == 120


def test_weights_in_another_form_are_counted_too(tmp_path: Path) -> None:
    assert weights_bytes(tmp_path) == 0
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model-1.bin").write_bytes(b"x" * 70)
    (tmp_path / "pytorch_model-2.bin").write_bytes(b"x" * 50)
    assert weights_bytes(tmp_path) == 120


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.touch()
    with pytest.raises(ConfigError, match=r"source: .*model\.gguf holds no config\.json"):
        resolve("m", str(file), quiet)


def test_a_folder_is_found_from_home_and_by_its_real_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("m", "~/link", quiet) == folder
