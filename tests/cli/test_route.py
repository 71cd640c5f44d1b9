"""`roundhouse route`: whom it asks, and what it says by the config alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.route import route
from cli.route_table import table
from cli.source import ALONE, Source
from common.errors import ConfigError, NotAnsweringError, StartError, UsageError
from common.instance import Instance
from tests.cli.conftest import TOKEN, instance_on
from tests.gateway.house import House

CODE = "Write a Python function that reverses a linked list."


def config(tmp_path: Path, text: str = "", port: int = 8000) -> Path:
    path = tmp_path / "box.yaml"
    path.write_text(
        f"server: {{port: {port}}}\n"
        "models:\n"
        "  coder: {source: org/coder, quality: {code: 0.9, general: 0.5}}\n"
        "  poet: {source: org/poet, quality: {code: 0.2, general: 0.5}}\n"
        f"{text}"
    )
    return path


def asking_below(tmp_path: Path, confidence: float) -> Path:
    stage = f"{{model: poet, below: {confidence}}}"
    return config(tmp_path, f"router: {{second_stage: {stage}}}\n")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def test_what_runs_is_asked(instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    route(CODE, Source(), as_json=True)
    answer = told(capsys)
    assert answer["asked"] == instance.url
    assert answer["task"] == "code"
    assert {each["model"] for each in answer["candidates"]} == {"m", "owner/model"}
    route(CODE, Source(port=instance.port), as_json=False)
    assert capsys.readouterr().out.startswith(f"asked {instance.url}\n")


def test_its_health_counts(
    instance: Instance, house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.report("owner/model-0", None)
    route(CODE, Source(), as_json=True)
    answer = told(capsys)
    assert answer["model"] == "m"
    assert [c["loaded"] for c in answer["candidates"] if c["model"] == "owner/model"] == [False]


def test_the_address_of_the_config_is_asked(
    instance: Instance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    route(CODE, Source(config(tmp_path, port=instance.port)), as_json=True)
    assert told(capsys)["asked"] == instance.url
    route(CODE, Source(config(tmp_path, port=1)), as_json=True)
    answer = told(capsys)
    assert (answer["asked"], answer["model"]) == (None, "coder")


def test_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    route(CODE, Source(config(tmp_path)), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ALONE
    assert lines[1].startswith("coder  (code ")


def test_offline_asks_nobody(
    instance: Instance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path, port=instance.port)
    route(CODE, Source(path, offline=True), as_json=True)
    assert told(capsys)["asked"] is None
    with pytest.raises(UsageError, match="--offline asks nobody"):
        route(CODE, Source(offline=True, port=1), as_json=True)


def test_a_url_with_the_key_of_the_environment(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotAnsweringError, match=r"/v1/route answers HTTP 401$"):
        route(CODE, Source(url=house.url), as_json=True)
    monkeypatch.setenv("ROUNDHOUSE_API_KEY", TOKEN)
    route(CODE, Source(url=f"{house.url}/v1/"), as_json=True)
    assert told(capsys)["asked"] == house.url


def test_who_is_named_must_answer() -> None:
    with pytest.raises(StartError, match="no Roundhouse runs on port 1;"):
        route(CODE, Source(port=1), as_json=True)
    with pytest.raises(NotAnsweringError, match=r"http://127\.0\.0\.1:1 does not answer"):
        route(CODE, Source(url="http://127.0.0.1:1"), as_json=True)
    with pytest.raises(UsageError, match="must begin with http"):
        route(CODE, Source(url="127.0.0.1:1"), as_json=True)


def test_of_several_one_must_be_chosen() -> None:
    for port in (7001, 7002):
        instance_on(port).save()
    with pytest.raises(UsageError, match="several run, on ports 7001, 7002"):
        route(CODE, Source(), as_json=True)


def test_a_prompt_is_needed() -> None:
    with pytest.raises(UsageError, match="route needs a prompt"):
        route("", Source(), as_json=False)


def test_a_pattern_of_ones_own_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = "router: {patterns: [{name: our jargon, task: code, weight: 6, en: 'frob'}]}\n"
    route("Frob the widget", Source(config(tmp_path, own)), as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["code", "our", "jargon", "frob"] in [[line[0], *line[2:]] for line in lines if line]


def test_a_bad_pattern_is_told_with_its_line(tmp_path: Path) -> None:
    own = "router: {patterns: [{name: a, task: code, weight: 6, en: 'x('}]}\n"
    path = config(tmp_path, own)
    with pytest.raises(ConfigError) as caught:
        route("hi", Source(path), as_json=False)
    assert caught.value.message.startswith(f"{path}:5: router.patterns[0].en: not a regular expre")


def test_the_second_stage_is_told_where_the_rules_are_not_sure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    route(CODE, Source(asking_below(tmp_path, 1.0)), as_json=False)
    assert "not sure: a request would have poet name the task" in capsys.readouterr().out
    route(CODE, Source(asking_below(tmp_path, 0.0)), as_json=True)
    assert told(capsys)["second_stage"] is None


def test_the_table_of_what_runs(
    instance: Instance, house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    assert house.gateway.learning is not None
    house.gateway.learning.remember("r-1", "code", "m")
    from router.feedback.signals import rating

    house.gateway.learning.record("r-1", [rating(5)])
    table(Source(), as_json=True)
    answer = told(capsys)
    assert answer["asked"] == instance.url
    (line,) = [e for e in answer["scores"] if (e["task"], e["model"]) == ("code", "m")]
    assert line["ratings"] == pytest.approx(1.0, abs=1e-3)
    assert line["score"] > line["prior"]
    table(Source(), as_json=False)
    assert "RATINGS" in capsys.readouterr().out


def test_the_table_of_the_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(Source(config(tmp_path)), as_json=True)
    answer = told(capsys)
    assert answer["asked"] is None
    code = {e["model"]: (e["prior"], e["ratings"]) for e in answer["scores"] if e["task"] == "code"}
    assert code == {"coder": (0.9, 0.0), "poet": (0.2, 0.0)}
    table(Source(config(tmp_path)), as_json=False)
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("by the config")
    assert head.split()[:2] == ["TASK", "MODEL"]
    assert len(rows) == 14
    assert any(row.startswith("code") and "config: " in row for row in rows)
