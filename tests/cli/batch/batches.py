"""Batches for tests: their lines, and the command as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.batch.work import errors_path

_ROOT = Path(__file__).parents[3]


def line(custom_id: str, said: str = "hi", **more: Any) -> dict[str, Any]:
    """In OpenAI's batch format. What is said begins with the id, so that engines can tell it."""
    messages = [{"role": "user", "content": f"{custom_id} {said}"}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": messages, "max_tokens": 3},
    } | more


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines))
    return path


def many(path: Path, n: int, said: str = "hi") -> Path:
    return written(path, *(line(f"id-{i}", said) for i in range(n)))


def answers(out: Path) -> dict[str, dict[str, Any]]:
    """By custom_id, each of which must be there once."""
    found = [json.loads(raw) for raw in out.read_text().splitlines()]
    by_id = {each["custom_id"]: each for each in found}
    assert len(by_id) == len(found), "a custom_id is there twice"
    return by_id


def failures(out: Path) -> dict[str, dict[str, Any]]:
    path = errors_path(out)
    return answers(path) if path.exists() else {}


def command(
    *words: object, preexec: Callable[[], None] | None = None, program: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """`roundhouse batch` with these words."""
    start = program or ("-m", "cli.main")
    return subprocess.Popen(
        [sys.executable, *start, "batch", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        preexec_fn=preexec,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err
