"""The README's examples do what it says, against a server with real engines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.serving import CHECKOUT, KEY, RunningServer, environment

pytestmark = pytest.mark.engine


def block(language: str, word: str) -> str:
    """The README's first fenced block in a language that holds a word."""
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return next(found for found in blocks if word in found)


def at(house: RunningServer, code: str) -> str:
    """The same for this server: its address, and its key wherever there is one or none."""
    code = re.sub(r"http://(localhost|127\.0\.0\.1):8000", house.url, code)
    code = re.sub(r"api_key=[\"'][^\"']*[\"']", f'api_key="{KEY}"', code)
    code = re.sub(r"Bearer [^\"'\s]+", f"Bearer {KEY}", code)
    return code if KEY in code else code.replace("curl ", f"curl -H 'x-api-key: {KEY}' ", 1)


def test_curl(house: RunningServer, tmp_path: Path) -> None:
    code = at(house, block("bash", "curl "))
    assert "Paris" in output_of(["bash", "-euc", code], tmp_path)


def test_openai_python(house: RunningServer, tmp_path: Path) -> None:
    code = at(house, block("python", "openai"))
    assert "Paris" in output_of([sys.executable, "-c", code], tmp_path)


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment(folder), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
