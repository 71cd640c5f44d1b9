"""A running Roundhouse as files: who may read them, and when they are forgotten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from common.instance import Instance, log_dir, log_path, running, slug, state_dir


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Instance(
        pid=os.getpid(),
        url="http://127.0.0.1:8000",
        port=8000,
        log_dir=str(log_dir(8000)),
        started_at=time.time(),
        token="a secret",
    )


def test_it_lies_under_xdg_state_home(here: Instance, tmp_path: Path) -> None:
    assert here.file == tmp_path / "roundhouse" / "instances" / "8000.json"
    assert log_path(8000, "m-0") == tmp_path / "roundhouse" / "logs" / "8000" / "m-0.log"


def test_without_xdg_state_home_it_lies_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    assert state_dir() == Path.home() / ".local" / "state" / "roundhouse"


def test_only_its_user_may_read_it(here: Instance) -> None:
    old = os.umask(0)
    try:
        here.save()
    finally:
        os.umask(old)
    assert here.file.stat().st_mode & 0o777 == 0o600
    assert here.file.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in here.file.parent.iterdir()] == ["8000.json"]


def test_what_is_saved_is_found(here: Instance) -> None:
    other = replace(here, port=7000, url="http://127.0.0.1:7000")
    assert running() == []
    here.save()
    other.save()
    assert running() == [other, here]
    here.forget()
    here.forget()
    assert running() == [other]


def test_saving_again_replaces(here: Instance) -> None:
    here.save()
    newer = replace(here, token="another")
    newer.save()
    assert running() == [newer]


def test_the_token_is_not_shown(here: Instance) -> None:
    assert "a secret" not in repr(here)
    here.save()
    assert json.loads(here.file.read_text())["token"] == "a secret"


def test_dead_ones_are_forgotten(here: Instance) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    replace(here, pid=gone.pid).save()
    assert running() == []
    assert not here.file.exists()


def test_a_process_that_came_later_is_another_one(here: Instance) -> None:
    """Process ids come round again."""
    replace(here, started_at=time.time() - 10**6).save()
    assert running() == []
    assert not here.file.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', "null", "\x00"])
def test_broken_files_are_removed(here: Instance, text: str) -> None:
    here.save()
    broken = here.file.with_name("1.json")
    broken.write_text(text)
    assert running() == [here]
    assert not broken.exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("qwen3", "qwen3"),
        ("Qwen/Qwen3-0.6B", "Qwen_Qwen3-0.6B"),
        ("a:b@c+d", "a_b_c_d"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("ü", "_"),
    ],
)
def test_a_name_as_part_of_a_file(name: str, shown: str) -> None:
    assert slug(name) == shown
    assert log_path(1, name).parent == log_dir(1)
