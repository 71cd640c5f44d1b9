"""The set of labelled prompts that ships: complete, balanced, without copies, and as described."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from benchmarks.routing_set import HELD_OUT, OURS, TRAINING, load
from router.classify import TASKS

GUIDE = Path(__file__).parents[2] / "docs" / "routing-labels.md"
FIELDS = {"id", "text", "messages", "lang", "task", "hard", "note"}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OURS.read_text(encoding="utf-8").split("\n") if line]


def test_every_row_is_well_formed(rows: list[dict[str, Any]]) -> None:
    prompts = load()
    assert len(prompts) == len(rows) == len({row["id"] for row in rows})
    assert all(set(row) <= FIELDS for row in rows)
    assert all(prompt.text == prompt.text.strip() for prompt in prompts)
    assert {prompt.lang for prompt in prompts} == {"en", "ko"}


def test_a_hard_prompt_says_why_and_no_other_does(rows: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in rows if row["hard"] != bool(row.get("note"))] == []


def test_it_is_large_and_balanced(rows: list[dict[str, Any]]) -> None:
    cells = Counter((row["task"], row["lang"]) for row in rows)
    assert len(rows) >= 700
    assert sum(row["lang"] == "ko" for row in rows) >= 300
    assert min(cells[task, lang] for task in TASKS for lang in ("en", "ko")) >= 40
    assert max(cells.values()) <= 1.1 * min(cells.values())
    assert sum(row["hard"] for row in rows) >= len(rows) / 4


def test_each_task_and_language_has_hard_ones_and_conversations(
    rows: list[dict[str, Any]],
) -> None:
    hard = Counter((row["task"], row["lang"]) for row in rows if row["hard"])
    talks = Counter((row["task"], row["lang"]) for row in rows if "messages" in row)
    cells = [(task, lang) for task in TASKS for lang in ("en", "ko")]
    assert min(hard[cell] for cell in cells) >= 10
    assert min(talks[cell] for cell in cells) >= 3


def test_the_guide_gives_the_numbers_of_the_set(rows: list[dict[str, Any]]) -> None:
    guide = " ".join(GUIDE.read_text(encoding="utf-8").split())
    cells = Counter((row["task"], row["lang"]) for row in rows).values()
    korean = sum(row["lang"] == "ko" for row in rows)
    assert f"{len(rows)} prompts, {len(rows) - korean} in English and {korean} in Korean" in guide
    assert f"{min(cells)} to {max(cells)} for each task and language" in guide
    assert f"marks {sum(row['hard'] for row in rows)} prompts" in guide
    assert f"the {sum('messages' in row for row in rows)} conversations" in guide


def test_korean_is_korean_and_english_is_english() -> None:
    prompts = load()
    korean = [p for p in prompts if p.lang == "ko"]
    assert all(re.search("[가-힣]", p.text) for p in korean)
    assert all(re.search("[A-Za-z]", p.text) for p in prompts if p.lang == "en")


def test_no_prompt_is_nearly_another() -> None:
    grams = {prompt.id: _grams(" ".join(text for _, text in prompt.turns)) for prompt in load()}
    near = [
        (one, other)
        for (one, a), (other, b) in combinations(grams.items(), 2)
        if (common := len(a & b)) > 0.4 * (len(a) + len(b) - common)
    ]
    assert near == []


def _grams(text: str) -> set[str]:
    letters = re.sub(r"\W", "", text.lower())
    return {letters[at : at + 4] for at in range(max(1, len(letters) - 3))}


def test_the_held_out_set_is_balanced() -> None:
    cells = Counter((prompt.task, prompt.lang) for prompt in load(HELD_OUT))
    assert sum(cells.values()) == 400
    assert set(cells) == {(task, lang) for task in TASKS for lang in ("en", "ko")}
    assert min(cells.values()) >= 16


def test_nothing_that_is_measured_was_learned_from() -> None:
    measured = [_pieces(prompt.text) for prompt in (*load(), *load(HELD_OUT))]
    by_piece: dict[str, set[int]] = defaultdict(set)
    for at, pieces in enumerate(measured):
        for piece in pieces:
            by_piece[piece].add(at)
    for prompt in load(TRAINING):
        pieces = _pieces(prompt.text)
        common = Counter(at for piece in pieces for at in by_piece.get(piece, ()))
        for at, n in common.items():
            both = len(pieces) + len(measured[at]) - n  # `|` would take most of the time
            assert n <= 0.45 * both, prompt.text


def _pieces(text: str) -> set[str]:
    compact = re.sub(r"\s+", "", text.lower())
    return {compact[at : at + 5] for at in range(max(1, len(compact) - 4))}
