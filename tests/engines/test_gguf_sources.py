"""From a `source` to a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from engines import embedded
from engines.gguf_sources import resolve
from tests.engines.test_sources import quiet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "some.gguf"
    made.write_bytes(b"GGUF....")
    return made


def test_a_file_is_found_by_its_path_or_its_folder(file: Path) -> None:
    assert resolve("m", str(file), quiet) == file
    assert resolve("m", str(file.parent), quiet) == file
    (file.parent / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"holds several: other\.gguf, some\.gguf; name one"):
        resolve("m", str(file.parent), quiet)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"should hold one \.gguf file, and holds none"):
        resolve("m", str(tmp_path), quiet)


def test_a_file_without_the_magic_is_told(file: Path) -> None:
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=r"^models\.m\.source: .*some\.gguf is no GGUF file"):
        resolve("m", str(file), quiet)


@pytest.mark.parametrize(
    "source", ["./none.gguf", "/no/such.gguf", "~/none.gguf", "none.gguf", "folder/none.gguf"]
)
def test_what_is_neither_file_nor_hub_file(source: str) -> None:
    with pytest.raises(ConfigError, match=r"no file on this disk .*owner/name/FILE\.gguf\)"):
        resolve("m", source, quiet)


def test_parts_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="is one part of a model; merge them"):
        resolve("m", "owner/name/big-00001-of-00003.gguf", quiet)


@pytest.mark.parametrize("name", ["smollm2", "gpt4-gguf"])
def test_unknown_embedded_models_are_told_with_the_known(name: str) -> None:
    with pytest.raises(ConfigError, match="there are: embedded:smollm2-gguf"):
        resolve("m", f"embedded:{name}", quiet)


def test_the_embedded_model_is_taken_from_where_it_is(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "cached_gguf", lambda name: None)
    monkeypatch.setattr(embedded, "fetch_gguf", lambda name, progress: file)
    assert resolve("m", "embedded:smollm2-gguf", quiet) == file
    monkeypatch.setattr(embedded, "cached_gguf", lambda name: file.parent)
    assert resolve("m", "embedded:smollm2-gguf", quiet) == file.parent
