"""`router.patterns`: what a user adds to the rules, and how mistakes in it are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common import config_file
from common.config import Config
from common.errors import ConfigError
from router.classify import classify, of_text
from router.classify.own_patterns import problems, rules_of
from router.classify.rules import Rules, default_rules

JARGON = "Frobnicate the widget for me, would you"


def config(*patterns: dict[str, Any]) -> Config:
    return Config.model_validate(
        {"models": {"m": {"source": "x"}}, "router": {"patterns": patterns}}
    )


def test_without_any_the_rules_are_those_that_ship() -> None:
    assert rules_of(config()) is default_rules()


def spoken(text: str, rules: Rules) -> dict[str, str]:
    """Which patterns spoke, and for which tasks."""
    return {said.pattern: said.task for said in classify(of_text(text), rules).spoke}


def test_a_pattern_of_ones_own_speaks_and_counts() -> None:
    own = {"name": "jargon", "task": "code", "weight": 6, "en": r"\bfrobnicat\w+"}
    before = classify(of_text(JARGON), default_rules())
    verdict = classify(of_text(JARGON), rules_of(config(own)))
    (said,) = [said for said in verdict.spoke if said.pattern == "jargon"]
    assert (said.task, said.matched) == ("code", "frobnicate")
    assert verdict.scores["code"] == pytest.approx(before.scores["code"] + said.weight)


def test_korean_is_looked_for_without_spaces() -> None:
    own = {"name": "우리말", "task": "math", "weight": 8, "ko": "톺아보기"}
    assert spoken("이것 좀 톺아 보기 부탁", rules_of(config(own)))["우리말"] == "math"


def test_signals_are_asked_for_and_their_absence() -> None:
    own = {"name": "short ones", "task": "creative", "weight": 9, "when": ["short", "-question"]}
    rules = rules_of(config(own))
    assert spoken("hm", rules)["short ones"] == "creative"
    assert "short ones" not in spoken("hm?", rules)


def test_one_of_a_known_name_replaces_that() -> None:
    own = {"name": "translate", "task": "summary", "weight": 6, "en": "translate"}
    assert spoken("Translate this", default_rules())["translate"] == "translation"
    assert spoken("Translate this", rules_of(config(own)))["translate"] == "summary"


def test_weight_zero_turns_one_off_by_its_name_alone() -> None:
    rules = rules_of(config({"name": "translate", "weight": 0}))
    off = {p.name for p in default_rules().patterns} - {p.name for p in rules.patterns}
    assert off == {"translate"}
    assert "translate" not in spoken("Translate this", rules)


def test_word_lists_of_the_rules_may_be_used() -> None:
    own = {"name": "tongues", "task": "translation", "weight": 6, "en": r"parley in <lang>"}
    assert "tongues" in spoken("parley in korean", rules_of(config(own)))


@pytest.mark.parametrize(
    ("pattern", "key", "said"),
    [
        ({"name": "a", "task": "code", "weight": 1, "en": "(x"}, "en", "not a regular expression"),
        ({"name": "a", "task": "code", "weight": 1, "ko": "x*"}, "ko", "matches the empty text"),
        ({"name": "a", "task": "code", "weight": 1, "any": r"\b"}, "any", "matches the empty text"),
        ({"name": "a", "task": "code", "weight": 1, "en": "<no>"}, "en", "unknown word list <no>"),
        (
            {"name": "a", "task": "code", "weight": 1, "when": ["dark"]},
            "when",
            "unknown signal dar",
        ),
        ({"name": "a", "weight": 1, "en": "x"}, None, "task is missing (one of: code"),
        ({"name": "a", "task": "code", "weight": 1}, None, "needs one of en, ko, any, or `when`"),
        ({"name": "translat", "weight": 0}, "name", "to turn off; did you mean 'translate'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    pattern: dict[str, Any], key: str | None, said: str
) -> None:
    ((at, text),) = problems(config({"name": "translate", "weight": 0}, pattern))
    assert at == ("router", "patterns", 1, *([key] if key else []))
    assert said in text
    with pytest.raises(ConfigError, match=r"^router\.patterns\[1\]"):
        rules_of(config({"name": "translate", "weight": 0}, pattern))


def test_a_name_that_stands_twice() -> None:
    one = {"name": "a", "task": "code", "weight": 1, "en": "x"}
    assert list(problems(config(one, one))) == [
        (("router", "patterns", 1, "name"), "'a' stands twice")
    ]


FILE = """\
models: {m: {source: embedded:smollm2}}
router:
  patterns:
    - name: mine
      task: code
      weight: 3
      en: 'x('
    - {name: b, task: cooking, weight: 1, en: b}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            FILE.replace("cooking", "math"),
            ":7: router.patterns[0].en: not a regular expression: missing ), unterminated",
        ),
        (FILE, ":8: router.patterns[1].task: input should be 'code', 'analysis'"),
        (FILE.replace("cooking, weight: 1", "math, weight: 11"), ":8: router.patterns[1].weight: "),
        (
            FILE.replace("en: b}", "wen: [long]}"),
            ":8: router.patterns[1].wen: unknown key; did you mean 'when'? (allowed: name, task",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config_file.load(path, checks=(problems,))
    assert f"{path}{said}" in caught.value.message


def test_a_good_file_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(FILE.replace("x(", "xyz").replace("cooking", "math"))
    assert len(config_file.load(path, checks=(problems,)).router.patterns) == 2
