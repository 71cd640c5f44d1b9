"""The whole input is checked first, then read again a line at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.batch.request import Plain
from cli.batch.source import checked
from common.errors import UsageError
from tests.cli.batch.batches import line, many, written


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as refused:
        checked(path, Plain())
    assert refused.value.exit_code == 2
    return refused.value.message


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    path = many(tmp_path / "in.jsonl", 2)
    with path.open("ab") as file:
        file.write(b"\n{bad\n\xff\xfe\n")
    written(tmp_path / "more", line("id-0"), line("x", url="/v2"))
    path.write_bytes(path.read_bytes() + (tmp_path / "more").read_bytes())
    told = refusal(path).splitlines()
    assert told[0] == "nothing was sent:"
    assert told[1].startswith(f"{path}:4: not JSON: ")
    assert told[2] == f"{path}:5: not UTF-8 at byte 1 of the line"
    assert told[3] == f"{path}:6: custom_id 'id-0' stands on line 1 already"
    assert told[4].startswith(f"{path}:7: url '/v2': must be one of")
    assert len(told) == 5


def test_not_all_of_very_many(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("{\n" * 50)
    assert refusal(path).splitlines()[-1] == "and 30 more lines"


def test_no_file_or_nothing_in_it(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path / "no") == f"{tmp_path / 'no'}: cannot be read: No such file or directory"
    )
    assert "must be a file" in refusal(tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n \n")
    assert refusal(empty) == f"{empty}: holds no requests"


def test_windows_lines_a_mark_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbf\xed\x95\x9c\r\n\r\nb\r\n")
    source = checked(path, Plain())
    assert source.ids == {"line-1": 1, "line-3": 3}
    said = [r.body["messages"][0]["content"] for r in source.requests(set())]
    assert said == ["한", "b"]


def test_what_is_done_is_left_out(tmp_path: Path) -> None:
    source = checked(many(tmp_path / "in.jsonl", 4), Plain())
    assert [r.custom_id for r in source.requests({"id-0", "id-2"})] == ["id-1", "id-3"]


def test_a_line_more_is_another_input(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("a\nb\n")
    before = checked(path, Plain()).sha256
    path.write_text("a\n\nb\n")
    assert checked(path, Plain()).sha256 != before


@pytest.mark.parametrize("now", ["{\n", '{"id": "new", "text": "x"}\n'])
def test_a_change_while_it_runs(tmp_path: Path, now: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n')
    source = checked(path, Plain())
    path.write_text(now)
    with pytest.raises(UsageError, match=r"in\.jsonl:1: was changed while the batch ran"):
        list(source.requests(set()))
