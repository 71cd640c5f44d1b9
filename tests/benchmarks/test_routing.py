"""The benchmark of the classifier: its figures are right, and its targets can be missed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import routing, routing_measure, routing_noise
from benchmarks.routing_figures import (
    Answer,
    Share,
    accuracy,
    bands,
    calibration_error,
    commonest,
    confident,
    confusion,
    groups,
    macro_f1,
    per_task,
    percentile,
)
from benchmarks.routing_measure import (
    Latency,
    Measured,
    Robustness,
    measure,
    robustness,
    targets,
    verdict_of,
)
from benchmarks.routing_noise import NOISES, Noise
from benchmarks.routing_set import Prompt, load
from benchmarks.routing_svg import picture
from common.errors import UsageError
from router.classify import TASKS, default_rules


def prompt(text: str = "hello", task: Any = "general", lang: str = "en", **more: Any) -> Prompt:
    return Prompt(more.pop("id", text), (("user", text),), lang, task, **more)


def answer(label: str, said: str, confidence: float = 0.9) -> Answer:
    return Answer(prompt(task=label), said, confidence)


MIXED = [
    answer("code", "code", 0.95),
    answer("code", "math", 0.4),
    answer("math", "math", 0.9),
    answer("general", "general", 0.3),
]


def test_accuracy_and_what_is_least_to_beat() -> None:
    assert accuracy(MIXED) == Share(4, 3)
    assert commonest(MIXED) == Share(4, 2)


def test_wilson_interval_of_a_known_case() -> None:
    low, high = Share(100, 80).interval
    assert (low, high) == (pytest.approx(0.7112, abs=1e-4), pytest.approx(0.8666, abs=1e-4))


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_an_interval_holds_its_share(case: tuple[int, int]) -> None:
    share = Share(*case)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1


def test_precision_recall_and_f1() -> None:
    code, math = (next(t for t in per_task(MIXED) if t.task == name) for name in ("code", "math"))
    assert (code.precision, code.recall, code.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (math.precision, math.recall, math.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert macro_f1(MIXED) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_a_task_without_labels_is_not_in_the_mean_but_its_answers_cost() -> None:
    assert macro_f1([answer("code", "code"), answer("code", "summary")]) == pytest.approx(2 / 3)


def test_confusion_has_labels_in_rows() -> None:
    matrix = confusion(MIXED)
    assert matrix[TASKS.index("code")][TASKS.index("math")] == 1
    assert matrix[TASKS.index("math")][TASKS.index("code")] == 0
    assert sum(map(sum, matrix)) == len(MIXED)


def test_coverage_counts_the_confident_ones() -> None:
    assert confident(MIXED, 0.9) == Share(2, 2)
    assert confident(MIXED, 0.0) == Share(4, 3)


def test_bands_hold_every_answer_once() -> None:
    found = [*MIXED, answer("code", "code", 1.0), answer("code", "code", 0.0)]
    assert sum(band.answers.rows for band in bands(found)) == len(found)


def test_calibration_error_of_overconfidence() -> None:
    sure = [answer("code", "code", 0.92), answer("code", "math", 0.92)]
    assert calibration_error(sure) == pytest.approx(0.42)


def test_groups_leave_out_what_is_unknown() -> None:
    rows = [Answer(prompt(source=s), "general", 1.0) for s in ("b", None, "a", "b")]
    found = groups(rows, lambda p: p.source)
    assert {name: len(part) for name, part in found.items()} == {"a": 1, "b": 2}


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (50, 99)
    assert percentile([3.0], 0.99) == 3


# Noise


def test_korean_loses_its_spaces_but_latin_and_fences_keep_theirs() -> None:
    said = prompt("이 코드 좀 봐줘 my code here\n```\n이 줄 은 둔다\n```", lang="ko")
    assert routing_noise.no_spaces(said) == ("이코드좀봐줘 my code here\n```\n이 줄 은 둔다\n```")


@pytest.mark.parametrize(
    ("polite", "casual"),
    [
        ("시 한 편 써 주세요.", "시 한 편 써 줘."),
        ("번역 부탁드립니다", "번역 부탁해"),
        ("이게 무엇인가요? 알려 주세요!", "이게 뭐야? 알려 줘!"),
    ],
)
def test_endings_turn_casual(polite: str, casual: str) -> None:
    assert routing_noise.casual(prompt(polite, lang="ko")) == casual


def test_endings_turn_polite_only_at_the_end() -> None:
    said = prompt("줘팸이라는 말이 뭐야? 알려줘", lang="ko")
    assert routing_noise.polite(said) == "줘팸이라는 말이 무엇인가요? 알려 주시겠어요"


def test_typos_are_few_and_the_same_each_time() -> None:
    said = prompt("Please write a long and friendly letter to all of the neighbours " * 3)
    once = routing_noise.typos(said)
    assert once == routing_noise.typos(said) != said.text
    assert sum(a != b for a, b in zip(once, said.text, strict=False)) < len(said.text) / 5


@given(st.text(min_size=1))
def test_no_noise_fails_on_any_text(text: str) -> None:
    for lang in ("en", "ko"):
        for noise in NOISES:
            assert isinstance(noise.change(prompt(text, lang=lang)), str)


def test_noise_is_counted_only_where_it_changes_something() -> None:
    both = Noise("no spaces", routing_noise.no_spaces).of(
        [prompt("a b"), prompt("가 나", lang="ko")]
    )
    assert [(before.text, after.text) for before, after in both] == [("가 나", "가나")]


def test_noise_changes_the_last_words_only() -> None:
    turns = (("user", "HI"), ("assistant", "Yes?"), ("user", "GO ON"))
    ((_, after),) = Noise("lower", routing_noise.lower).of([Prompt("1", turns, "en", "general")])
    assert after.turns == (*turns[:2], ("user", "go on"))


# Measuring


def test_the_classifier_is_asked_with_the_whole_conversation() -> None:
    turns = (
        ("user", "Write a Python function that reverses a list."),
        ("assistant", "```python\ndef rev(xs): return xs[::-1]\n```"),
        ("user", "shorter"),
    )
    talk = Prompt("1", turns, "en", "code")
    assert verdict_of(talk, default_rules()).task == "code"


def test_robustness_sees_what_noise_breaks() -> None:
    said = prompt("Write a Python function that reverses a list.", "code")
    spoilt = Noise("gone", lambda _: "hm")
    found = robustness(spoilt, [said], default_rules())
    assert (found.before, found.after, found.lost_points) == (Share(1, 1), Share(1, 0), 100.0)


def good() -> Measured:
    answers = tuple(Answer(prompt(task=task, lang="ko"), task, 0.95) for task in TASKS)
    same = Robustness("typos", Share(7, 7), Share(7, 7))
    return Measured(answers, Share(7, 7), (same,), (Latency("a decision", 7, 5, 0.2, 0.9, 1.0),))


def missed(measured: Measured) -> set[str]:
    return {target.name for target in targets(measured) if not target.reached}


def test_a_perfect_classifier_reaches_every_target() -> None:
    assert missed(good()) == set()


def test_each_target_can_be_missed() -> None:
    fine = good()
    wrong = tuple(replace(a, task="code", confidence=0.5) for a in fine.answers)
    assert missed(replace(fine, answers=wrong)) == {
        "accuracy",
        "macro-F1",
        "accuracy in Korean",
        "right at confidence 0.9",
        "covered at confidence 0.9",
    }
    broken = Robustness("typos", Share(100, 90), Share(100, 86))
    assert missed(replace(fine, robustness=(broken,))) == {"typos"}
    slow = Latency("a decision", 7, 5, 0.2, 2.0, 9.0)
    assert missed(replace(fine, latency=(slow,))) == {"p99 of a decision"}


def test_a_set_without_korean_has_no_target_for_it() -> None:
    fine = good()
    english = tuple(replace(a, prompt=replace(a.prompt, lang="en")) for a in fine.answers)
    names = [target.name for target in targets(replace(fine, answers=english))]
    assert "accuracy in Korean" not in names


def test_measures_each_prompt_in_each_round() -> None:
    found = measure([prompt("What is 2 + 2?", "math"), prompt("hello")], default_rules(), rounds=3)
    assert [(each.prompts, each.rounds) for each in found.latency] == [(2, 3), (2, 3)]
    assert all(0 < each.p50_ms <= each.p99_ms <= each.most_ms for each in found.latency)
    assert len(found.answers) == 2


def test_one_interruption_does_not_count_as_the_time_of_a_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1.0, 1.0, 500.0, 1.0, 1.0, 2.0])  # three rounds of two prompts
    monkeypatch.setattr(routing_measure, "_once_ms", lambda act, item: next(times))
    found = routing_measure._timed("x", len, ["a", "b"], 3)
    assert (found.p50_ms, found.p99_ms, found.most_ms) == (1.0, 1.0, 500.0)


# Files


def test_reads_texts_and_conversations(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    talk = {"messages": [{"role": "user", "content": "a\u2028b"}], "lang": "en", "task": "code"}
    rows = [{"text": "x", "lang": "ko", "task": "math", "source": "s", "licence": "any"}, talk]
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows), encoding="utf-8")
    first, second = load(path)
    assert (first.id, first.text, first.source, first.hard) == ("1", "x", "s", None)
    assert (second.id, second.text) == ("2", "a\u2028b")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('{"text": "x", "lang": "en", "task": "poetry"}', "task: "),
        ('{"lang": "en", "task": "code"}', "either text or messages"),
        ('{"text": "x", "messages": [], "lang": "en", "task": "code"}', "messages: "),
        (
            '{"messages": [{"role": "assistant", "content": "x"}], "lang": "en", "task": "code"}',
            "the last message must be the user's",
        ),
        ("{", "row: "),
    ],
)
def test_names_the_line_that_is_wrong(tmp_path: Path, row: str, what: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(f'{{"text": "x", "lang": "en", "task": "code"}}\n{row}\n')
    with pytest.raises(UsageError) as error:
        load(path)
    assert f"{path}:2: " in error.value.message
    assert what in error.value.message


def test_an_empty_or_missing_set_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, what in (("empty.jsonl", "holds no prompts"), ("none.jsonl", "cannot be read")):
        with pytest.raises(UsageError, match=what):
            load(tmp_path / name)


def test_the_picture_is_well_formed_and_holds_the_counts() -> None:
    drawn = ET.fromstring(picture(["a", "b"], [[3, 1], [0, 0]], "3 of 4 & more"))
    words = ["".join(each.itertext()) for each in drawn.iter() if each.tag.endswith("text")]
    assert {"3", "75%", "1", "25%", "3 of 4 & more"} <= set(words)
    assert words.count("0") == 0


def small_set(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    rows = [
        {"text": "Write a Python function.", "lang": "en", "task": "code", "source": "a"},
        {
            "text": "이 문장을 영어로 번역해 줘: 비가 온다",
            "lang": "ko",
            "task": "code",
            "source": "b",
        },
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_writes_figures_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "figures" / "r.json", tmp_path / "r.svg"
    options = ["--set", str(small_set(tmp_path)), "--out", str(out), "--plot", str(plot)]
    code = routing.main([*options, "--strict"])
    document = json.loads(out.read_text())
    assert code == 1  # the second label is wrong on purpose
    assert document["accuracy"] == {"rows": 2, "passed": 1, "share": 0.5}
    assert document["groups"]["source"]["b"]["passed"] == 0
    assert [row["id"] for row in document["wrong"]] == ["2"]
    assert "1 of 2 prompts right" in plot.read_text()
    printed = capsys.readouterr().out
    assert "Confusion" in printed
    assert "By source" in printed


def test_a_missed_target_is_told_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert routing.main(["--set", str(small_set(tmp_path))]) == 0
    assert "target missed: " in capsys.readouterr().err


def test_exit_code_0_where_every_target_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "measure", lambda prompts, rules: good())
    assert routing.main(["--set", str(small_set(tmp_path)), "--strict"]) == 0


def test_wrong_use_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert routing.main(["--plot", "matrix.png"]) == 2
    assert routing.main(["--set", str(tmp_path / "none.jsonl")]) == 2
    errors = capsys.readouterr().err
    assert "ends in .svg" in errors
    assert "cannot be read" in errors
