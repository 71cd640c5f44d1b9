"""Starts the fake hub, and runs programs of ours against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import hub as program

CHECKOUT = Path(__file__).parents[2]
CLI = ("-m", "cli.main")


@dataclass
class Hub:
    """`home` is the HF_HOME of whoever asks it; `root` holds what it has."""

    url: str
    root: Path
    home: Path

    def repo(self, name: str, files: dict[str, bytes], **settings: Any) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        (folder / ".hub.json").write_text(json.dumps(settings))
        return folder

    def environment(self, **changes: str) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        hub = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return ours | hub | {"HF_HUB_DOWNLOAD_TIMEOUT": "2"} | changes

    def roundhouse(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(*CLI, *words, **env)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment(**env),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *CLI, *words],
            env=self.environment(),
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def requests(self) -> list[dict[str, Any]]:
        log = self.root.with_suffix(".log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def fetched(self, part: str) -> list[dict[str, Any]]:
        """The requests for the content of large files of a repository."""
        rows = [row for row in self.requests() if row["method"] == "GET"]
        return [row for row in rows if row["path"].startswith("/lfs/") and part in row["path"]]

    def cache(self, name: str) -> Path:
        return self.home / "hub" / f"models--{name.replace('/', '--')}"


@contextmanager
def running(folder: Path) -> Iterator[Hub]:
    root = folder / "hub"
    root.mkdir()
    command = [sys.executable, str(program.__file__), str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = server.stdout.readline().strip()
            yield Hub(f"http://127.0.0.1:{port}", root, folder / "home")
        finally:
            server.kill()
