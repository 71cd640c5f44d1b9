from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError, ModelFetchError
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


@pytest.mark.parametrize("source", ["./nowhere", "/no/such/folder", "a b", "~/none"])
def test_what_is_neither_folder_nor_hub_id(source: str) -> None:
    with pytest.raises(ConfigError, match=r"no folder on this disk and no hub id \(owner/name\)"):
        resolve("m", source, quiet)


def test_a_hub_that_cannot_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFetchError) as caught:
        resolve("m", "some-owner/some-model", quiet)
    assert "some-owner/some-model is not in the hub's cache" in caught.value.message
    assert "embedded:smollm2" in caught.value.message


def test_weights_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "b.safetensors").write_bytes(b"x" * 20)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 120)
    assert weights_bytes(tmp_path) == 120
