"""`roundhouse plan --case`: lines in, lines out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from cli import case
from common.errors import UsageError


def test_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": 1}\n\n{"id": 2}\n'))
    assert case.run("-") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [1, 2]


def test_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"id": "a"}\n{"id": "b", "tp": 0}\n')
    assert case.run(str(path)) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "error" not in first
    assert (second["id"], "tp" in second["error"]) == ("b", True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--case"):
        case.run(str(tmp_path / "none.jsonl"))
