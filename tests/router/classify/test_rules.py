from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from router.classify import TASKS
from router.classify.classifier import classify
from router.classify.conversation import of_text
from router.classify.rules import default_rules, load

RULES = default_rules()


def extended(pattern: dict[str, Any], task: str = "code") -> Any:
    return RULES.extended({"tasks": {task: [pattern]}}, "mine.yaml")


def test_every_task_but_the_default_has_patterns_in_both_languages() -> None:
    for task in TASKS:
        scripts = {pattern.script for pattern in RULES.patterns if pattern.task == task}
        assert {"en", "ko"} <= scripts


def test_every_pattern_with_an_expression_has_a_gate() -> None:
    """Without one a pattern runs on every text, which costs the budget."""
    slow = [p.name for p in RULES.patterns if p.expression and not p.gate]
    assert slow == ["foreign words"]  # a class of letters alone, which is quick to look for


def test_a_user_adds_a_pattern() -> None:
    wish = of_text("Frobnicate the widget for me, would you")
    mine = extended({"name": "our jargon", "weight": 6, "en": r"\bfrobnicat\w+"})
    assert classify(wish, RULES).task != "code"
    assert classify(wish, mine).task == "code"


def test_a_pattern_of_a_known_name_replaces_it_and_weight_zero_turns_it_off() -> None:
    wish = of_text("Translate this")
    off = extended({"name": "translate", "weight": 0, "en": "translate"}, "translation")
    assert classify(wish, RULES).task == "translation"
    assert all(said.pattern != "translate" for said in classify(wish, off).spoke)
    assert all(pattern.name != "translate" for pattern in off.patterns)


def test_a_users_word_list_can_be_used_in_patterns() -> None:
    mine = RULES.extended(
        {
            "words": {"ours": "alpha|beta"},
            "tasks": {"math": [{"name": "x", "weight": 1, "en": "<ours> day"}]},
        }
    )
    expression = next(p.expression for p in mine.patterns if p.name == "x")
    assert expression is not None
    assert expression.search("beta day")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({"weight": 1, "en": "x"}, "name"),
        ({"name": "a", "weight": "much", "en": "x"}, "pattern 'a': weight"),
        ({"name": "a", "weight": 11, "en": "x"}, "pattern 'a': weight"),
        ({"name": "a", "weight": 1, "fr": "x"}, "pattern 'a': fr"),
        ({"name": "a", "weight": 1}, "needs one of en, ko, any"),
        ({"name": "a", "weight": 1, "en": "(x"}, "pattern 'a': en: not a regular expression"),
        ({"name": "a", "weight": 1, "en": "<nope>"}, "unknown word list <nope>"),
        ({"name": "a", "weight": 1, "en": "x*"}, "matches the empty text"),
        ({"name": "a", "weight": 1, "en": "x", "when": ["dark"]}, "unknown signal dark"),
    ],
)
def test_a_wrong_pattern_is_named_with_its_place(pattern: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        extended(pattern)
    assert str(caught.value).startswith("mine.yaml: tasks: code: ")
    assert said in str(caught.value)


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cooking"):
        extended({"name": "a", "weight": 1, "en": "x"}, "cooking")


def test_a_name_that_stands_twice_is_an_error() -> None:
    twice = [{"name": "a", "weight": 1, "en": "x"}, {"name": "a", "weight": 2, "en": "y"}]
    with pytest.raises(ConfigError, match="stands twice"):
        RULES.extended({"tasks": {"code": twice}})


@pytest.mark.parametrize("points", [[[0, 0.5], [0, 0.6]], [[0, 0.9], [1, 0.5]], [[0, 0], [1, 2]]])
def test_a_calibration_that_does_not_rise_is_an_error(points: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="must rise"):
        RULES.extended({"calibration": {"found": "by hand", "points": points}})


@pytest.mark.parametrize("text", ["- a list", "tasks: {", "tasks: {}"])
def test_a_file_that_is_no_set_of_rules_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "patterns.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        load(tmp_path / "gone.yaml")
