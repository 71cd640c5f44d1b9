"""Exact bytes from the headers of weight files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import UsageError
from placement.models.safetensors import stored_in
from tests.placement.models import files


def test_one_file(tmp_path: Path) -> None:
    tensors = {"a.weight": ("BF16", [4, 8]), "a.scale": ("F32", [4]), "a.packed": ("I32", [2, 2])}
    files.safetensors(tmp_path / "model.safetensors", tensors)
    stored = stored_in(tmp_path)
    assert stored is not None
    assert stored.tensors == {"a.weight": 64, "a.scale": 16, "a.packed": 16}
    assert stored.itemsizes == {"a.weight": 2, "a.scale": 4}
    assert stored.total_bytes == 96


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    for name in ("one", "two", "left-over"):
        files.safetensors(tmp_path / f"{name}.safetensors", {name: ("BF16", [8])})
    index = {"weight_map": {"one": "one.safetensors", "two": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    stored = stored_in(tmp_path)
    assert stored is not None
    assert set(stored.tensors) == {"one", "two"}


def test_a_second_form_of_the_weights_is_not_counted(tmp_path: Path) -> None:
    files.safetensors(tmp_path / "model-00001-of-00001.safetensors", {"a": ("BF16", [8])})
    files.safetensors(tmp_path / "consolidated.safetensors", {"b": ("BF16", [8])})
    stored = stored_in(tmp_path)
    assert stored is not None
    assert set(stored.tensors) == {"a"}


def test_a_folder_without_weights(tmp_path: Path) -> None:
    assert stored_in(tmp_path) is None


@pytest.mark.parametrize(
    "content", [b"", b"not safetensors at all", (8).to_bytes(8, "little") + b'{"a": 1', b"\x00" * 8]
)
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="no safetensors file"):
        stored_in(tmp_path)


def test_an_index_without_a_map(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(UsageError, match="weight_map"):
        stored_in(tmp_path)
