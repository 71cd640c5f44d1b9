"""What stands in the output is whole, whatever ended the run before."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.batch.journal import Journal
from common.errors import StartError, UsageError


def filled(path: Path, *ids: str) -> Journal:
    journal = Journal(path)
    for each in ids:
        journal.add(b'{"custom_id": "%b"}\n' % each.encode())
    journal.sync()
    journal.close()
    return journal


def test_there_is_no_file_without_a_line(tmp_path: Path) -> None:
    assert filled(tmp_path / "out").ids() == set()
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_on_with(tmp_path: Path) -> None:
    filled(tmp_path / "out", "a")
    assert filled(tmp_path / "out", "b").ids() == {"a", "b"}


@given(cut=st.integers(1, 40))
def test_a_torn_line_is_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "out"
    filled(path, "a", "b", "c")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    ids = Journal(path).ids()
    assert len(ids) == whole[:-cut].count(b"\n")
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[: len(ids)])
    assert filled(path, "d").ids() == ids | {"d"}


@pytest.mark.parametrize("wrong", [b"{}\n", b"nonsense\n", b"[]\n", b"\xff\n"])
def test_what_is_none_of_ours_is_left_alone(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "out"
    filled(path, "a")
    path.write_bytes(before := path.read_bytes() + wrong)
    with pytest.raises(UsageError, match=r"out:2: is no line of a batch's output; move the file"):
        Journal(path).ids()
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be written: No such file or directory"):
        filled(tmp_path / "no" / "out", "a")
