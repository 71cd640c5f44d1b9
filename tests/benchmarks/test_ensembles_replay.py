from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.ensembles_replay import Share, main, of_gsm8k, read, replay

# Made up. By question: what best, second and third say; `=` marks what is right.
ROWS = [
    ("=4", "=4", "=4"),
    ("=4", "=4", "5"),
    ("=4", "5", "5"),  # two wrong ones outvote the best
    ("4", "4", "=6"),  # agreement that is wrong
    ("4", "=5", "=5"),  # the two others correct the best
    ("=4", "5", "6"),  # a tie, which goes to the best
    ("=4", None, "6"),
    ("4", "5", None),
    ("=1,000", "=1000.0", "7"),
]
MODELS = ("best", "second", "third")


def lines() -> list[str]:
    return [
        json.dumps(
            {
                "question": i,
                "model": model,
                "answer": said.lstrip("=") if said else None,
                "correct": bool(said and said.startswith("=")),
            }
        )
        for i, row in enumerate(ROWS)
        for model, said in zip(MODELS, row, strict=True)
    ]


def test_the_arithmetic() -> None:
    found = replay(read(lines()))
    assert found.by_model == {"best": Share(6, 9), "second": Share(4, 9), "third": Share(3, 9)}
    assert found.best == "best"
    assert found.majority == Share(6, 9)
    assert found.majority_without_best == Share(4, 9)
    assert found.oracle == Share(8, 9)
    assert found.top_two == ("best", "second")
    assert found.top_two_agree == Share(4, 9)
    assert found.right_when_they_agree == Share(3, 4)
    assert found.best_right_when_not == Share(3, 5)
    assert found.cascade == Share(6, 9)
    assert found.cascade_escalated == Share(6, 9)


def test_weights_let_the_best_outvote_who_is_hardly_ever_right() -> None:
    rows = [
        {"question": q, "model": m, "answer": a, "correct": a == "1"}
        for q in range(10)
        for m, a in (("good", "1" if q else "2"), ("bad", "2" if q else "1"), ("worse", "2"))
    ]
    found = replay(read([json.dumps(row) for row in rows]))
    assert found.majority == Share(0, 10)
    assert found.weighted == Share(9, 10)


def test_gsm8ks_own_rows() -> None:
    solutions = ("A: 3", "A: 90,000", "#### 5", "cut before its ans")
    names = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    row = {
        name: {"solution": f"Two A: 1 and more\n{text}", "is_correct": i == 1}
        for i, (name, text) in enumerate(zip(names, solutions, strict=True))
    }
    (question,) = read(of_gsm8k([json.dumps({"question": "?", **row})]))
    assert [question[name].answer for name in names] == ["3", "90000", "5", None]
    assert question["6b_verification"].correct


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"question": 1}', "line 1: not a recorded answer"),
        ("[1]", "line 1: not a recorded answer"),
        ('{"question": 1, "model": "a", "answer": "1", "correct": true}', "at least two models"),
    ],
)
def test_files_that_are_none(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read([text])


def test_every_model_must_have_answered_every_question() -> None:
    with pytest.raises(ValueError, match="question '8': no answer of 'third'"):
        read(lines()[:-1])


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(lines()), encoding="utf-8")
    assert main([str(file)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^majority +66\.7 % \(6 of 9\)$", shown, re.MULTILINE)
    assert main([str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["oracle"] == {"n": 8, "of": 9}
