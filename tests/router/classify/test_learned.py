"""The learned table: read strictly, listened to briefly, and never alone when it knows nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.quality_config import TASKS
from router.classify import classify, of_text
from router.classify.classifier import LEARNED
from router.classify.learned import TABLE, default_table, length_of, pieces_of, read, unpacked
from router.classify.rules import default_rules
from router.classify.view import View, view_of

RULES = default_rules()


def view(text: str) -> View:
    said = of_text(text)
    return view_of(said.text, said, RULES.slips)


def table(path: Path, *rows: str) -> Path:
    path.write_text("# piece\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_the_table_that_ships_is_whole() -> None:
    found = default_table()
    assert len(found.bias) == len(TASKS)
    assert all(unpacked(row)[0] >= 1 for row in found.pieces.values())
    assert {piece.partition(":")[0] for piece in found.pieces} <= {
        "w", "b", "e", "k", "first", "last", "is", "size",
    }  # fmt: skip


@pytest.mark.parametrize(
    "row", ["w:poem\t100", "w:poem" + "\t40000" * 8, "w:poem\t" + "x\t" * 8, "w:poem" + "\t1" * 9]
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(
        ConfigError, match=r"bad\.tsv:3: needs a piece and 8 whole numbers of 16 bits"
    ):
        read(table(tmp_path / "bad.tsv", "bias:" + "\t0" * 8, row))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.tsv")


def test_weights_are_summed_over_the_length(tmp_path: Path) -> None:
    poem = "w:poem\t200" + "\t0" * 5 + "\t4000\t0"
    known = read(table(tmp_path / "t.tsv", "bias:" + "\t0" * 8, poem))
    learned = known.listen(view("poem"))
    assert learned is not None
    assert learned.scores["creative"] == pytest.approx(40 * 100 / length_of([200]))
    assert learned.scores["math"] == 0
    assert learned.told == "poem"


def test_without_a_known_word_it_keeps_silent() -> None:
    assert default_table().listen(view("zzqxv wvuqq")) is None


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Write 12 poems", {"w:write", "w:write 0", "b:poem", "first:write 0", "last:poems"}),
        ("이 글 번역해 줘", {"k:번역", "k:번역해줘", "first:이글", "last:해줘"}),
    ],
)
def test_pieces(text: str, pieces: set[str]) -> None:
    assert pieces <= pieces_of(view(text))


def test_spaces_in_korean_make_no_difference() -> None:
    assert pieces_of(view("이 글 번역해 줘")) == pieces_of(view("이글번역해줘"))


def test_no_piece_breaks_the_table_s_lines() -> None:
    pieces = pieces_of(view("표\t번역\n가나\u2028다라 a\tb\x85c"))
    assert not any(mark in piece for piece in pieces for mark in "\t\n\r")


def test_what_was_learned_is_told_beside_the_patterns() -> None:
    verdict = classify(of_text("Give me a bedtime tale about a shy hedgehog"), RULES)
    assert verdict.task == "creative"
    assert any(said.pattern == LEARNED and said.matched for said in verdict.spoke)
    without = classify(of_text("Give me a bedtime tale"), replace(RULES, learned=None))
    assert all(said.pattern != LEARNED for said in without.spoke)


def test_the_table_is_no_larger_than_people_would_download() -> None:
    assert TABLE.stat().st_size < 3 << 20
