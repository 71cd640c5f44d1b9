"""Checks as the config describes them. Patterns and schemas are tried in a process, for real."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from common.ensemble_section import EnsembleLimits
from common.ensembles_config import check_ensembles
from common.ensembles_judged import BestOfConfig, CheckConfig
from common.errors import BadRequestError
from router.ensembles.asked import Known, recipe_of
from router.ensembles.checks import check
from router.ensembles.checks.check import Check, Finding, in_block
from router.ensembles.checks.limits import Limits

PRICE = {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]}


def checked(answer: str, **keys: Any) -> Finding:
    return asyncio.run(Check(CheckConfig(**keys)).of(answer))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ('{"price": 3}', None),
        ('Here it is:\n```json\n{"price": 3}\n```\nAs asked.', None),
        ('{"price": "3"}', "$.price: '3' is not of type 'number'"),
        ("{}", "$: 'price' is a required property"),
        ("It costs 3.", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "not JSON: "),
    ],
)
def test_json_schema(answer: str, complaint: str | None) -> None:
    finding = checked(answer, json_schema=PRICE)
    assert finding.passed == (complaint is None)
    assert finding.complaints.get("json_schema", "").startswith(complaint or "")


def test_regex() -> None:
    assert checked("order 12-34", regex=r"\d\d-\d\d").passed
    missing = checked("order", regex=r"\d\d-\d\d")
    assert missing.complaints == {"regex": "the pattern is not found in it"}
    assert missing.score == 0


def test_a_pattern_that_would_take_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MATCH", Limits(wall_s=20, cpu_s=1))
    told = checked("a" * 60 + "!", regex=r"(a+)+$").complaints["regex"]
    assert told == "ended by its limit of processor time or memory"
    monkeypatch.setattr(check, "MATCH", Limits(wall_s=1, cpu_s=60))
    schema = {"type": "string", "pattern": "(a+)+$"}
    assert checked('"' + "a" * 60 + '!"', json_schema=schema).complaints == {
        "json_schema": "not done after 1 s"
    }


def test_a_schema_that_doubles_at_every_step_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MATCH", Limits(wall_s=20, cpu_s=1, memory_bytes=1 << 30))
    steps = {f"s{i}": {"allOf": [{"$ref": f"#/$defs/s{i + 1}"}] * 2} for i in range(40)}
    schema = {"$defs": {**steps, "s40": {"type": "number"}}, "$ref": "#/$defs/s0"}
    assert "limit of processor time" in checked("1", json_schema=schema).complaints["json_schema"]


def test_a_schema_fetches_nothing() -> None:
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    told = checked("1", json_schema=schema).complaints["json_schema"]
    assert told == "its schema refers to what is not in it: http://127.0.0.1:9/schema.json"


def test_a_schema_that_goes_round_in_circles() -> None:
    told = checked("1", json_schema={"$ref": "#"}).complaints["json_schema"]
    assert "RecursionError" in told


def test_all_that_is_given_must_hold() -> None:
    keys = {"unit": "km", "language": "en", "max_chars": 8, "regex": "5"}
    assert checked("5 km", **keys).passed
    finding = checked("거리는 5 킬로미터", **keys)
    assert set(finding.complaints) == {"unit", "language", "length"}
    assert finding.score == pytest.approx(1 / 4)


def test_code_in_blocks() -> None:
    answer = "So:\n```python\nx = 1\n```\nor\n```py\ny = 2\n```\nrun it\n```bash\nls\n```"
    assert in_block(answer, ("python", "py")) == "x = 1\n\ny = 2"
    assert in_block("x = 1", ("python",)) == "x = 1"
    assert in_block("```python\nx = 1", ("python",)) == "x = 1"  # cut off by its length


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "give at least one of json_schema, regex, tests, unit"),
        ({"regex": "(a"}, "not a pattern of Python's re"),
        ({"regex": "a" * 1001}, "at most 1000"),
        ({"json_schema": {"type": "numbr"}}, "not a JSON schema: 'numbr' is not valid"),
        ({"language": "fr"}, "'ko' or 'en'"),
        ({"min_chars": 3, "max_chars": 2}, "min_chars is more than max_chars"),
        ({"unit": ""}, "at least 1 character"),
        ({"tests": "x", "shell": "ls"}, "Extra inputs"),
    ],
)
def test_what_cannot_be_checked_is_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        CheckConfig(**keys)


def test_code_runs_only_where_the_config_allows_it() -> None:
    """However a request asks for it."""
    asked = {"kind": "best_of", "members": ["a"], "check": {"tests": "assert True"}}
    body = {"routing": {"ensemble": asked}}
    told = "check.tests: code is run only where router.ensembles.sandbox is true"
    with pytest.raises(BadRequestError, match=told):
        recipe_of(None, body, Known(("a",)))
    allowed = recipe_of(None, body, Known(("a",), limits=EnsembleLimits(sandbox=True)))
    assert allowed is not None
    with pytest.raises(BadRequestError, match="sandbox: Extra inputs"):
        recipe_of(None, {"routing": {"ensemble": {**asked, "sandbox": True}}}, Known(("a",)))
    section = BestOfConfig(members=("a",), check=CheckConfig(tests="assert True"))
    with pytest.raises(ValueError, match=told):
        check_ensembles({"x": section}, ("a",), EnsembleLimits())
    check_ensembles({"x": section}, ("a",), EnsembleLimits(sandbox=True))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"check": {"unit": "km"}, "judge": "b"}, "judge: the check decides already"),
        ({"samples": 1}, "samples: there is nothing to choose from"),
        ({"judge": "nobody"}, "judge: no model 'nobody'"),
        ({"samples": 8}, "up to 22 answers"),  # 8, and 7 compared in both orders
    ],
)
def test_what_best_of_cannot_be(keys: dict[str, Any], told: str) -> None:
    section = BestOfConfig(members=("a",), **keys)
    with pytest.raises(ValueError, match=told):
        check_ensembles({"x": section}, ("a", "b"), EnsembleLimits())
