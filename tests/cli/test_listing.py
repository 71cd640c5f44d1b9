"""Tables for people, JSON for scripts."""

from __future__ import annotations

import json

import pytest

from cli.listing import list_models, print_table, ps, status, version
from common.errors import NotAnsweringError
from common.instance import Instance
from engines.base import EngineStatus, State
from tests.cli.conftest import instance_on
from tests.gateway.house import House


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("instance")
def test_list(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.report("owner/model-0", None)
    list_models(None, as_json=False)
    assert rows(capsys.readouterr().out) == [
        ["MODEL", "ALIAS", "OF", "MAX", "LENGTH", "READY"],
        ["m", "-", "2048", "yes"],
        ["gpt-4o-mini", "m", "2048", "yes"],
        ["owner/model", "-", "6144", "no"],
    ]
    list_models(None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [(model["id"], model["ready"]) for model in told] == [
        ("m", True),
        ("gpt-4o-mini", True),
        ("owner/model", False),
    ]


@pytest.mark.usefixtures("instance")
def test_ps(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    failed = EngineStatus(State.FAILED, pid=77, error="CUDA out of memory", started_at=1.0)
    house.report("m-1", failed)
    house.report("owner/model-0", None)
    ps(None, as_json=False)
    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "REPLICA"
    assert first.split() == ["m-0", "ready", "-", "1", "0/256", "0", "0", "-", "-"]
    assert second.split()[:7] == ["m-1", "failed", "-", "77", "0/256", "0", "1"]
    assert second.endswith("CUDA out of memory")
    assert third.split()[1] == "starting"
    assert third.endswith("waiting for its process")
    ps(None, as_json=True)
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == [
        "ready",
        "failed",
        "starting",
    ]


def test_status(house: House, instance: Instance, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(None, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("up_s") >= 0
    assert told == {
        "url": f"{house.url}/v1",
        "pid": instance.pid,
        "ready": True,
        "replicas_ready": 3,
        "replicas": 3,
        "logs": instance.log_dir,
    }
    house.report("owner/model-0", None)
    assert status(None, as_json=False) == 1
    shown = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["ready"], shown["replicas ready"], shown["replicas"]) == ("False", "2", "3")


def test_one_that_does_not_answer_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    instance_on(1).save()
    assert status(None, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["ready"] is False
    with pytest.raises(NotAnsweringError, match=r"http://127\.0\.0\.1:1 does not answer"):
        ps(None, as_json=False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    version(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert list(told)[:2] == ["roundhouse", "python"]
    assert all(told.values())
    version(as_json=False)
    assert dict(rows(capsys.readouterr().out)) == told


def test_columns_are_as_wide_as_their_longest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONG"), [("longer", 1), ("x", "y" * 200)])
    assert capsys.readouterr().out.splitlines() == [
        "A       LONG",
        "longer  1",
        f"x       {'y' * 200}",
    ]
