from __future__ import annotations

from pathlib import Path

import httpx2 as httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

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


class Hub:
    """Stands for huggingface_hub's snapshot_download: what it was asked, and what it does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Path | Exception) -> None:
        self.asked: list[tuple[str, bool]] = []
        self._outcomes = list(outcomes)
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.download)

    def download(self, hub_id: str, *, ignore_patterns: object, **options: bool) -> str:
        self.asked.append((hub_id, options.get("local_files_only", False)))
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)


def refused(kind: type[HfHubHTTPError], status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://hub")
    return kind("no", response=httpx.Response(status, request=request))


NOT_HERE = LocalEntryNotFoundError("not here")


def test_a_model_in_the_hubs_cache_needs_no_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    hub = Hub(monkeypatch, tmp_path)
    told: list[str] = []
    assert resolve("m", "owner/name", told.append) == tmp_path
    assert (hub.asked, told) == ([("owner/name", True)], [])


def test_another_is_fetched_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, NOT_HERE, tmp_path)
    told: list[str] = []
    assert resolve("m", "owner/name", told.append) == tmp_path
    assert hub.asked == [("owner/name", True), ("owner/name", False)]
    assert told == ["fetching owner/name from the hub"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            refused(GatedRepoError, 403),
            "owner/name is gated: accept its terms on the hub, then set HF_TOKEN",
        ),
        (
            refused(RepositoryNotFoundError, 404),
            "the hub has no model 'owner/name' (or it is private: set HF_TOKEN)",
        ),
        (
            refused(HfHubHTTPError, 500),
            (
                "owner/name is not in the hub's cache on this disk, and the hub cannot be reached "
                "(HfHubHTTPError); use a folder, or embedded:smollm2"
            ),
        ),
        (
            OSError("no space left on device"),
            (
                "owner/name is not in the hub's cache on this disk, and the hub cannot be reached "
                "(OSError); use a folder, or embedded:smollm2"
            ),
        ),
    ],
    ids=["gated", "unknown", "broken", "disk"],
)
def test_what_the_hub_refuses_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    Hub(monkeypatch, NOT_HERE, error)
    with pytest.raises(ModelFetchError) as caught:
        resolve("m", "owner/name", quiet)
    assert caught.value.message == f"models.m.source: {said}"
